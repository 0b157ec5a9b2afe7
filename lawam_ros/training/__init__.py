"""Training of LaWAM: the world model (stage 1), the policy on top of it (stage 2), and the fixed recipe of the small shipped model."""
