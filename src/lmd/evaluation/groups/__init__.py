"""Evaluations at other levels than all images: groups (patients, lesions) and subgroups."""
