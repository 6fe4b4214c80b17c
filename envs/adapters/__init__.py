"""Adapters: each turns a task of one simulator into a bare `envs.episodes.Task`."""
