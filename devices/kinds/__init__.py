"""Device kinds whose values a scan needs, made from any signals."""
