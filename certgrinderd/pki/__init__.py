"""Certificates, requests and the names in them: values in, values out."""
