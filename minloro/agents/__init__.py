"""Learners. They share the protocol `agent.Agent`, not a parent class.

Nothing in this folder knows about language models.
"""
