"""The spaces and time limits of all environments: a table, because making them all takes a minute.

`python -m rlx.cli.catalog` makes them and prints it anew. What is not in it could not be made where
it was printed, for want of an optional package.
"""

ENVIRONMENTS: dict[str, tuple[str, str, int | None]] = {
    "brax:ant": ("Box(27)", "Box(8) [-1, 1]", 1000),
    "brax:fast": ("Box(2)", "Box(1) [-1, 1]", 1000),
    "brax:halfcheetah": ("Box(17)", "Box(6) [-1, 1]", 1000),
    "brax:hopper": ("Box(11)", "Box(3) [-1, 1]", 1000),
    "brax:humanoid": ("Box(244)", "Box(17) [-1, 1]", 1000),
    "brax:humanoidstandup": ("Box(244)", "Box(17) [-1, 1]", 1000),
    "brax:inverted_double_pendulum": ("Box(8)", "Box(1) [-1, 1]", 1000),
    "brax:inverted_pendulum": ("Box(4)", "Box(1) [-1, 1]", 1000),
    "brax:pusher": ("Box(23)", "Box(7) [-1, 1]", 1000),
    "brax:reacher": ("Box(11)", "Box(2) [-1, 1]", 1000),
    "brax:swimmer": ("Box(8)", "Box(2) [-1, 1]", 1000),
    "brax:walker2d": ("Box(17)", "Box(6) [-1, 1]", 1000),
    "playground:AcrobotSwingup": ("Box(6)", "Box(1) [-1, 1]", 1000),
    "playground:AcrobotSwingupSparse": ("Box(6)", "Box(1) [-1, 1]", 1000),
    "playground:BallInCup": ("Box(8)", "Box(2) [-1, 1]", 1000),
    "playground:CartpoleBalance": ("Box(5)", "Box(1) [-1, 1]", 1000),
    "playground:CartpoleBalanceSparse": ("Box(5)", "Box(1) [-1, 1]", 1000),
    "playground:CartpoleSwingup": ("Box(5)", "Box(1) [-1, 1]", 1000),
    "playground:CartpoleSwingupSparse": ("Box(5)", "Box(1) [-1, 1]", 1000),
    "playground:CheetahRun": ("Box(17)", "Box(6) [-1, 1]", 1000),
    "playground:FingerSpin": ("Box(9)", "Box(2) [-1, 1]", 1000),
    "playground:FingerTurnEasy": ("Box(12)", "Box(2) [-1, 1]", 1000),
    "playground:FingerTurnHard": ("Box(12)", "Box(2) [-1, 1]", 1000),
    "playground:FishSwim": ("Box(24)", "Box(5) [-1, 1]", 1000),
    "playground:HopperHop": ("Box(15)", "Box(4) [-1, 1]", 1000),
    "playground:HopperStand": ("Box(15)", "Box(4) [-1, 1]", 1000),
    "playground:HumanoidRun": ("Box(67)", "Box(21) [-1, 1]", 1000),
    "playground:HumanoidStand": ("Box(67)", "Box(21) [-1, 1]", 1000),
    "playground:HumanoidWalk": ("Box(67)", "Box(21) [-1, 1]", 1000),
    "playground:PendulumSwingup": ("Box(3)", "Box(1) [-1, 1]", 1000),
    "playground:PointMass": ("Box(4)", "Box(2) [-1, 1]", 1000),
    "playground:ReacherEasy": ("Box(6)", "Box(2) [-1, 1]", 1000),
    "playground:ReacherHard": ("Box(6)", "Box(2) [-1, 1]", 1000),
    "playground:SwimmerSwimmer6": ("Box(25)", "Box(5) [-1, 1]", 1000),
    "playground:WalkerRun": ("Box(24)", "Box(6) [-1, 1]", 1000),
    "playground:WalkerStand": ("Box(24)", "Box(6) [-1, 1]", 1000),
    "playground:WalkerWalk": ("Box(24)", "Box(6) [-1, 1]", 1000),
    "gymnax:Acrobot-v1": ("Box(6)", "Discrete(3)", 500),
    "gymnax:Asterix-MinAtar": ("Box(10, 10, 4) [0, 1]", "Discrete(5)", 1000),
    "gymnax:BernoulliBandit-misc": ("Box(4)", "Discrete(2)", 100),
    "gymnax:Breakout-MinAtar": ("Box(10, 10, 4) [0, 1]", "Discrete(3)", 1000),
    "gymnax:CartPole-v1": ("Box(4)", "Discrete(2)", 500),
    "gymnax:Catch-bsuite": ("Box(10, 5) [0, 1]", "Discrete(3)", 1000),
    "gymnax:DeepSea-bsuite": ("Box(8, 8) [0, 1]", "Discrete(2)", 8),
    "gymnax:DiscountingChain-bsuite": ("Box(2) [-1, 5]", "Discrete(5)", 100),
    "gymnax:FourRooms-misc": ("Box(4) [1, 11]", "Discrete(4)", 500),
    "gymnax:Freeway-MinAtar": ("Box(10, 10, 7) [0, 1]", "Discrete(3)", 2500),
    "gymnax:FrozenLake-misc": ("Discrete(16)", "Discrete(4)", 100),
    "gymnax:GaussianBandit-misc": ("Box(4)", "Discrete(2)", 100),
    "gymnax:MemoryChain-bsuite": ("Box(3) [0, 2]", "Discrete(2)", 1000),
    "gymnax:MetaMaze-misc": ("Box(15)", "Discrete(4)", 200),
    "gymnax:MountainCar-v0": ("Box(2)", "Discrete(3)", 200),
    "gymnax:MountainCarContinuous-v0": ("Box(2)", "Box(1) [-1, 1]", 999),
    "gymnax:Pendulum-v1": ("Box(3)", "Box(1) [-2, 2]", 200),
    "gymnax:PointRobot-misc": ("Box(6)", "Box(2) [-0.1, 0.1]", 100),
    "gymnax:Pong-misc": ("Box(30, 40, 3) [0, 2]", "Discrete(3)", 1000),
    "gymnax:Reacher-misc": ("Box(8)", "Box(2) [-1, 1]", 100),
    "gymnax:Seaquest-MinAtar": ("Box(10, 10, 10) [0, 1]", "Discrete(6)", 1000),
    "gymnax:SimpleBandit-bsuite": ("Box(1, 1) [1, 1]", "Discrete(11)", 100),
    "gymnax:SpaceInvaders-MinAtar": ("Box(10, 10, 6) [0, 1]", "Discrete(4)", 1000),
    "gymnax:Swimmer-misc": ("Box(16)", "Box(2) [-1, 1]", 500),
    "gymnax:UmbrellaChain-bsuite": ("Box(3) [0, 1]", "Discrete(2)", 100),
    "gym:Acrobot-v1": ("Box(6)", "Discrete(3)", 500),
    "gym:Ant-v5": ("Box(105)", "Box(8) [-1, 1]", 1000),
    "gym:Blackjack-v1": ("Discrete(32), Discrete(11), Discrete(2)", "Discrete(2)", None),
    "gym:CartPole-v1": ("Box(4)", "Discrete(2)", 500),
    "gym:CliffWalking-v1": ("Discrete(48)", "Discrete(4)", None),
    "gym:FrozenLake-v1": ("Discrete(16)", "Discrete(4)", 100),
    "gym:HalfCheetah-v5": ("Box(17)", "Box(6) [-1, 1]", 1000),
    "gym:Hopper-v5": ("Box(11)", "Box(3) [-1, 1]", 1000),
    "gym:Humanoid-v5": ("Box(348)", "Box(17) [-0.4, 0.4]", 1000),
    "gym:HumanoidStandup-v5": ("Box(348)", "Box(17) [-0.4, 0.4]", 1000),
    "gym:InvertedDoublePendulum-v5": ("Box(9)", "Box(1) [-1, 1]", 1000),
    "gym:InvertedPendulum-v5": ("Box(4)", "Box(1) [-3, 3]", 1000),
    "gym:MountainCar-v0": ("Box(2)", "Discrete(3)", 200),
    "gym:MountainCarContinuous-v0": ("Box(2)", "Box(1) [-1, 1]", 999),
    "gym:Pendulum-v1": ("Box(3)", "Box(1) [-2, 2]", 200),
    "gym:Pusher-v5": ("Box(23)", "Box(7) [-2, 2]", 100),
    "gym:Reacher-v5": ("Box(10)", "Box(2) [-1, 1]", 50),
    "gym:Swimmer-v5": ("Box(8)", "Box(2) [-1, 1]", 1000),
    "gym:Walker2d-v5": ("Box(17)", "Box(6) [-1, 1]", 1000),
    "rlx:bandit": ("Box(4)", "Discrete(4)", None),
    "rlx:chain": ("Box(8) [0, 1]", "Discrete(2)", 32),
    "rlx:gridworld": ("Box(121) [0, 1]", "Discrete(4)", 121),
    "rlx:multigoal": ("Box(2) [-7, 7]", "Box(2) [-1, 1]", 30),
    "rlx:pendulum": ("Box(3)", "Box(1) [-2, 2]", 200),
    "rlx:pendulum_without_velocity": ("Box(2) [-1, 1]", "Box(1) [-2, 2]", 200),
    "rlx:point_maze": ("Box(4)", "Box(2) [-1, 1]", 100),
}
"""Name -> observation space, action space, time limit in decisions."""


def main() -> None:
    """Make every environment and print the lines of the table."""
    import json
    import sys

    from rlx import envs
    from rlx.cli.environments import summarize

    for name in envs.names():
        try:
            observation, action, limit = summarize(envs.make(name))
        except (ImportError, ValueError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            continue
        spaces = ", ".join(json.dumps(text, ensure_ascii=False) for text in (observation, action))
        print(f'    "{name}": ({spaces}, {limit}),')


if __name__ == "__main__":
    main()
