"""MuJoCo worlds that stand in for a robot, their cameras, scripted experts and success measures."""
