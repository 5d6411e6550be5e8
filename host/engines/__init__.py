"""Engines that play models: protocol, requests and model processes."""
