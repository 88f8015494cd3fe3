"""Engines compute redshifts from images and magnitudes."""
