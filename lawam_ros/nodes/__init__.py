"""rclpy nodes: parameters, topics, lifecycle and diagnostics; everything they compute lives in the rooms above."""
