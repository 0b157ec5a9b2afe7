"""One small interface and who fulfils it. A new policy is one class and one line in ``choose.py``."""
