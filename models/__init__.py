"""Data that travels with wel: trained weights with their cards, and images."""
