"""Values of config fields that suit an environment, each with its source.

A preset overrides defaults of an algorithm's `Config`; an environment without one of its own gets its suite's. Counts
are per seed; `total_steps` and `max_episode_steps` count decisions, so that with `action_repeat=n` they are an
n-th of the simulator steps that Brax and Playground publish. Published settings were found on the physics of their day
(Brax's own engines, MuJoCo Warp) and are translated, not tuned again; what is tuned here says what it reached.
"""
