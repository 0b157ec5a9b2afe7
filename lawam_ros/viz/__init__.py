"""Pictures of what the policy foresees: arrays in, arrays out."""
