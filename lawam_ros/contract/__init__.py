"""What a robot is to a policy: cameras, state, action components, units, rates and limits, and the records passed between rooms."""
