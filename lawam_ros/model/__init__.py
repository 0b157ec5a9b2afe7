"""LaWAM in torch: images and text in, normalised action chunks and predicted vision features out. No ROS here."""
