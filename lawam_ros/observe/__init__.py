"""From timed camera images and joint states to one observation: the same code live, from bags and from datasets."""
