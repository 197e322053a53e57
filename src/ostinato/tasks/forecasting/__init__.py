"""Forecasting: how one or many series of a file go on, scored from every origin of its last part."""
