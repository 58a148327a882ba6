"""What an operator gives to Prometheus and Grafana, made by code so that it fits this version: alerting rules
and a dashboard. Nothing of the running gateway imports it.
"""
