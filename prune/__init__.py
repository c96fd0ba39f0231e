"""The CRISP pruning algorithm (torch). Not built yet: this version holds the simulator and the formats it reads."""
