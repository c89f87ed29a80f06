"""Classical and learned reconstructions to compare with."""
