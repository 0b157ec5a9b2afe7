"""A LaWAM server elsewhere as a policy here: ``checkpoint:=ws://host:port``, ``http://host:port`` or ``tcp://host:port``."""
