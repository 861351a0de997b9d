"""Model: the network, augmentation, and the Lightning module that trains it."""
