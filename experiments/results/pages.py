"""The pages of measurements and what they say. Numbers in a text are filled in from its record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from experiments.claims.verdicts import results as verdicts
from experiments.results import outcomes, tables
from experiments.results.markdown import Content, Page, records_of, render

CPU = "cpu-2-cores"


def benchmark(name: str, content: Callable[[Mapping[str, Any]], Content], **of: Any) -> Page:
    """The page of a benchmark with its usual command and records."""
    return Page(
        command=f"python -m experiments.benchmarks {name}",
        records=f"benchmarks/results/{name}-*.json",
        content=content,
        module=f"experiments.benchmarks.{name}",
        **of,
    )


OF_LANGUAGE = """\
Every method goes on from the same warmed-up policies, Transformers of two layers, and sees the same number of
{steps}. {rate}, and what is a method's own has the value of its paper: no method was tuned. Accuracies are those of
held-out problems; `pass@k` says how many of them k samples at temperature 1 solve, and `majority` how many the answer
given most often solves."""
EARLIER = """\
This record is of an earlier version. It holds neither the learning rate nor the length of the warm-up nor machine and
versions, random streams were others, and `dapo`, `clip_cov`, `ace`, `lp_reg`, `ppo`, `critique_grpo`, `r3l`, `oreal`,
`bnpo` and `mhpo` have been brought nearer to their papers since: `rlx methods NAME` says how. The command repeats the
comparison and not its digits."""
OF_RESPONSES = OF_LANGUAGE.format(steps="responses", rate="The learning rate is 2e-4 for all methods")

PAGES: dict[str, Page] = {
    "efficiency": benchmark(
        "efficiency",
        tables.efficiency,
        title="Share of physics and gradients in training",
        asked="How much of the time of PPO's updates goes into physics and gradient steps, which no trainer can leave "
        "out, and how much is rlx's own overhead?",
        headline="Bare physics and bare gradients make up {inverted_pendulum_share} of PPO's time on the inverted "
        "pendulum and {ant_share} on the ant.",
        readings={
            CPU: """\
On the inverted pendulum, whose physics is light, bare environment steps and bare gradient steps make up
{inverted_pendulum_share} of the time of training (target: {inverted_pendulum_target}), which does
{inverted_pendulum_speed} environment steps per second. On the ant, whose physics is heavy, they make up {ant_share}
(target: {ant_target}) at {ant_speed} steps per second.

Every reset of rlx draws a fresh initial state. The time of an environment step differs by {inverted_pendulum_resets} %
on the pendulum and by {ant_resets} % on the ant from that of a step without resets (medians of the pairs), which the
noise hides. The load of the machine changed while the ant was measured, as its intervals show."""
        },
    ),
    "peers": benchmark(
        "peers",
        tables.peers,
        title="Training speed beside other PPO trainers",
        asked="How fast does rlx train PPO beside Brax's own trainer and a loop in the style of PureJaxRL, in the "
        "same physics with the same networks and batches?",
        headline="rlx trains PPO {inverted_pendulum_brax} and {ant_brax} times as fast as Brax's own trainer and "
        "{inverted_pendulum_purejaxrl} and {ant_purejaxrl} times as fast as a PureJaxRL-style loop (inverted "
        "pendulum, ant).",
        readings={
            CPU: """\
On the inverted pendulum rlx is {inverted_pendulum_brax} times as fast as Brax's PPO and
{inverted_pendulum_purejaxrl} times as fast as the PureJaxRL-style loop. On the ant it is {ant_brax} and
{ant_purejaxrl} times as fast. The target was {target} times the speed of each peer on each task. It is reached
against {reached}.

[Physics and gradients](efficiency.md) are nearly all of the time, which leaves a trainer little to gain. Both peers
reset to one cached state and drop the last observation of an episode; rlx pays for fresh resets and exact bootstraps
at time limits. Ratios within this benchmark can be compared. Its steps per second cannot be compared with those of
other pages, since the machine was shared and its load differed from one measurement to the next."""
        },
    ),
    "seeds": benchmark(
        "seeds",
        tables.seeds,
        title="What seeds and environments cost",
        asked="How much longer does an update take with 2 to 64 seeds, in one program and as `rlx train` has them on a "
        "CPU, and how does speed grow with the number of environments?",
        headline="8 seeds of PPO cost {trained_64x64_8} times one seed and 64 cost {trained_64x64_64} times, as "
        "`rlx train` has them on two cores.",
        readings={
            CPU: """\
With networks of 64×64, 8 seeds cost {trained_64x64_8} times one seed and 64 cost {trained_64x64_64} times, as
`rlx train` has them: one compilation, and the program of one seed called for one seed after the other on each core. In
one program on one device (`--batching vmap`) they cost {together_64x64_8} and {together_64x64_64} times. Physics in MJX
keeps to one device: several devices of one CPU and MJX's calls of LAPACK would wait for each other.

That a seed's numbers do not depend on its company has a price where a seed has little to do: 8 seeds of 8 environments
of light physics take {small_8_8} times as long as in one program, of 64 environments {small_64_8} times, and of 256
environments {small_256_8} times.

Each row has its own measurement of one seed, taken in the same minutes, since the machine was shared. Where that
measurement is far from those of the other rows, the load changed within the row, and its ratios are that uncertain:
two cores cannot make seeds more than twice as fast."""
        },
    ),
    "startup": benchmark(
        "startup",
        tables.startup,
        title="Time to the first update",
        asked="How long does it take from starting Python to the first finished update, with an empty compilation "
        "cache and with a filled one?",
        headline="The first update is done {inverted_pendulum_cold} s (inverted pendulum) and {ant_cold} s (ant) "
        "after a cold start, {inverted_pendulum_warm} s and {ant_warm} s with a warm cache.",
        readings={
            CPU: """\
From a cold start the first update is done after {inverted_pendulum_cold} s on the inverted pendulum and after
{ant_cold} s on the ant. With a warm compilation cache it is done after {inverted_pendulum_warm} s and {ant_warm} s.
Each number is the median of two starts only."""
        },
    ),
    "reliability": benchmark(
        "reliability",
        outcomes.reliability,
        title="Kills, wrong commands, damaged files and full disks",
        asked="What does a run survive, and is everything that is wrong said in one line?",
        headline="{survived} of {kills} kills (of {killed}) were survived bit for bit; {commands_well} of {commands} "
        "wrong commands and {files_well} of {files} damaged files were answered well.",
        readings={
            CPU: """\
{survived} of {kills} kills (`kill -9`, runs of {killed}) left nothing behind that the resumed run did not make good: it
ended with the same parameters and the same metrics, bit for bit. {commands_well} of {commands} wrong commands ended
with exit code 2 and one line, and had written nothing. {files_well} of {files} damaged files were read or refused in
one line. From Ctrl-C or SIGTERM to the end of the process it took {signal_median} s (median) and {signal_most} s at
most, over {signals} signals; {signals_same} of these runs then went on to the same end.

Where the disk filled up or became read-only in the middle of a run and was then mended, {disks_same} of {disks} runs
went on to the same end. A second process on the same folder ends with exit code {second_code}; the first one unharmed:
{first}."""
        },
    ),
    "language_memory": benchmark(
        "language_memory",
        tables.language_memory,
        title="Memory of a gradient step on a language model",
        asked="How much memory does an update of GRPO take on a model of the size of Qwen2.5-0.5B, all responses at "
        "once and in microbatches, and how does it grow with their length?",
        headline="An update of Qwen2.5-0.5B on {responses} responses of 2,048 tokens takes {gib_8_2048} GiB of "
        "temporaries in microbatches of 8, and {gib_32_2048} GiB with whole minibatches of {minibatch}.",
        readings={
            CPU: """\
Beside weights, gradients and moments of AdamW ({state} GiB of state), an update on {responses} responses of 2,048
tokens takes {gib_32_2048} GiB of temporaries where a minibatch of {minibatch} is scored at once, {gib_8_2048} GiB in
microbatches of 8 and {gib_2_2048} GiB in microbatches of 2. The gradient is the same. Microbatches of 8 take
{gib_8_1024} GiB for responses of 1,024 tokens, {gib_8_2048} GiB for 2,048 and {gib_8_4096} GiB for 4,096: twice the
length adds twice as much. What does not depend on the length is mostly the gradient and what it is added up in."""
        },
    ),
    "brax_sac": benchmark(
        "brax_sac",
        outcomes.brax_sac,
        title="Returns of SAC and TD3 beside Brax's SAC",
        asked="What return do SAC and TD3 reach on the hopper beside Brax's own SAC, at equal environment steps?",
        headline="On {env} after {steps} steps Brax's SAC reaches {brax} ({brax_interval}), rlx's SAC {sac} "
        "({sac_interval}) and TD3 {td3} ({td3_interval}).",
        readings={
            CPU: """\
All trainers have the same environment steps, networks and discount, which were chosen to suit Brax's SAC. After
{steps} steps on `{env}` Brax's SAC reaches {brax} (95 % interval {brax_interval}) and rlx's SAC as it begins by
default {sac} ({sac_interval}). With `--initialization lecun_uniform`, as Brax's weights are drawn, rlx's SAC reaches
{sac_lecun}; with `--warmup-policy untrained` as well, which is how Brax's SAC acts at first, it reaches
{sac_untrained}. TD3 with a gradient step per environment step, as in its paper, reaches {td3} in {td3_steps}
gradient steps; with a gradient step per four environment steps, as SAC has here, it reaches {td3_as_sac} in
{sac_steps}.

Seeds either learn to run on (episodes of more than {long} steps and returns from {least} to {most}) or fall after a
few hops. Of {seeds} seeds each, {brax_far} of Brax's run on, {td3_far} of TD3's, and of SAC's {sac_far},
{sac_lecun_far} and {sac_untrained_far} in the order above. So the intervals are wide. {reach} reach the lower end of
Brax's interval; {reach_not} do not. SAC lies in the lower half of Brax's interval at best."""
        },
    ),
    "offline": benchmark(
        "offline",
        tables.offline,
        title="Speed of learning from a dataset",
        asked="How fast does TD3+BC learn from a dataset beside bare gradient steps, what do seeds cost, "
        "and what does PRDC's search for neighbors cost?",
        headline="TD3+BC does {over_bare} of the updates per second of bare gradient steps; {seeds} seeds cost "
        "{trained} times one.",
        readings={
            CPU: """\
With a million transitions on the device, TD3+BC does {over_bare} of the updates per second of bare gradient steps
(floor: {floor}). {seeds} seeds cost {trained} times one seed as `rlx train` has them on two cores, and {vmap} times
in one program on one device.

PRDC looks up the nearest of all {rows} transitions for each of the {batch} queries of a minibatch. Its exact search
takes {search} ms, where a k-d tree on the host takes {tree} ms. An update of PRDC takes {prdc} ms on average, since
every other update trains the actor, and an update of TD3+BC {td3_bc} ms. So on a CPU PRDC is dominated by a search
that the host would do faster."""
        },
    ),
    "tokens": benchmark(
        "tokens",
        tables.tokens,
        title="Speed of language models: sampling and learning",
        asked="How fast are sampling from a language model and a gradient step of GRPO beside the bare steps that "
        "they need, and what makes up an update?",
        headline="At {medium_millions} million parameters sampling does {medium_sampling} of the tokens per second of "
        "bare decode steps, and a gradient step {medium_learning} of those of bare gradients.",
        readings={
            CPU: """\
At {medium_millions} million parameters and {medium_sequences} sequences, sampling does {medium_sampling} of the
tokens per second of bare decode steps that read each weight once (target: {target_sampling}). A gradient step takes
about as long as bare forward and backward passes: {medium_learning} times as many per second (target:
{target_learning}). Of an update {medium_share_sampling} % is sampling, {medium_share_score} % the score under the
sampling policy, {medium_share_gradient_steps} % gradient steps and {medium_share_rest} % the rest.

At the size of the experiments on additions ({addition_millions} million parameters) sampling does
{addition_sampling} of bare decode steps, and gradient steps are {addition_learning} times as many. Memory was not
counted: JAX does not report its peak on a CPU."""
        },
    ),
    "functions": benchmark(
        "functions",
        tables.functions,
        title="Cost of the function library",
        asked="Do elementwise losses cost what their memory traffic costs, and how much temporary memory do functions "
        "of logits take?",
        headline="{within} of {count} elementwise functions, with their gradients, cost at most {limit} copies of the "
        "same bytes.",
        readings={
            CPU: """\
Value and gradient of {elements} elements take at most {limit} times as long as a copy of the same bytes for {within}
of {count} elementwise functions; the median is {median} times. The dearest are {dearest}. They select some tokens of
the whole batch by rank and read it again and again, which a copy does not. Functions of logits take at most {memory}
times the memory of the logits of shape {shape} in temporaries."""
        },
    ),
    "gpu": benchmark(
        "gpu",
        tables.gpu,
        title="Training speed on an accelerator",
        asked="How many environment steps per second does PPO train on an accelerator, with one and with 32 seeds, "
        "and how many environments fit?",
        headline="PPO trains {fastest} steps per second on `{env}` with {seeds} seeds in one program; {most} "
        "environments fit.",
    ),
    "value_based": benchmark(
        "value_based",
        outcomes.value_based,
        title="Returns of DQN and PQN, and PQN beside its authors' code",
        asked="Do DQN and PQN solve CartPole, and does PQN learn MinAtar's Breakout as the code of its authors does?",
        headline="On CartPole DQN reaches {cartpole_dqn} ({cartpole_dqn_interval}) and PQN {cartpole_pqn}; after "
        "{breakout_pqn_steps} steps of Breakout PQN has {breakout_pqn} ({breakout_pqn_interval}), its authors' code "
        "{breakout_purejaxql} ({breakout_purejaxql_interval}).",
        readings={
            CPU: """\
On `gymnax:CartPole-v1`, whose best return is 500, DQN reaches {cartpole_dqn} (95 % interval {cartpole_dqn_interval})
after {cartpole_dqn_steps} steps; {cartpole_dqn_solved} of {cartpole_dqn_seeds} seeds hold the pole for 475 steps or
more. PQN reaches {cartpole_pqn} after {cartpole_pqn_steps} steps; {cartpole_pqn_solved} of {cartpole_pqn_seeds} seeds
hold it. DQN's learning rate and rate of the target network lie at the low edge of the four settings that were tried,
so they are not a tuned grid.

On `gymnax:Breakout-MinAtar` PQN and the code of its authors ({peer}) were given {breakout_pqn_steps} steps each. After
that PQN has {breakout_pqn} ({breakout_pqn_interval}) and the authors' code {breakout_purejaxql}
({breakout_purejaxql_interval}). The intervals overlap; {breakout_pqn_seeds} seeds show that both learn alike, not that
they are equal. The paper's runs are five times as long."""
        },
    ),
    "memory": benchmark(
        "memory",
        outcomes.memory,
        title="Recurrent PPO where one observation is not enough",
        asked="Does PPO with a memory solve what PPO without one cannot, and what do stacked observations make of it?",
        headline="Recurrent PPO recalls a bit over the whole episode ({memory_chain_recurrent_ppo_gru} of 1, PPO "
        "{memory_chain_ppo}), and swings up a pendulum without a speedometer "
        "({pendulum_without_velocity_recurrent_ppo_gru}, PPO {pendulum_without_velocity_ppo}).",
        readings={
            CPU: """\
On the memory chain (`gymnax:MemoryChain-bsuite`: guessing returns 0, remembering 1) recurrent PPO reaches
{memory_chain_recurrent_ppo_gru} with a GRU and {memory_chain_recurrent_ppo_ssm} with the diagonal state-space layer.
PPO on single observations stays at {memory_chain_ppo} ({memory_chain_ppo_interval}), and four stacked observations,
which do not reach back to the bit, at {memory_chain_ppo_stacked} ({memory_chain_ppo_stacked_interval}).

A pendulum that shows its angle but not its speed is swung up by recurrent PPO to
{pendulum_without_velocity_recurrent_ppo_gru} ({pendulum_without_velocity_recurrent_ppo_gru_interval}) with a GRU and to
{pendulum_without_velocity_recurrent_ppo_ssm} ({pendulum_without_velocity_recurrent_ppo_ssm_interval}) with the
state-space layer. Four stacked observations hold the speed, and PPO on them reaches
{pendulum_without_velocity_ppo_stacked} ({pendulum_without_velocity_ppo_stacked_interval}). PPO on single observations
never swings it up: {pendulum_without_velocity_ppo} ({pendulum_without_velocity_ppo_interval}). About -150 is the best
there is.

All methods were tuned on the same grid of learning rates with two seeds that are not reported, widened until the best
lay inside. Where a method learns nothing, its best rate means nothing."""
        },
    ),
    "language_methods_addition": Page(
        title="Methods for language models: additions, taught by one who forgets to carry",
        asked="Policies imitate worked additions of which four in five forget every carry, and are then told of their "
        "own answers only whether they are right. How far do methods of policy optimization get from there?",
        command="rlx ablate grpo --task addition@digits=3@forgetful=0.8 --methods "
        "grpo,dr_grpo,dapo,ppo --total-steps 15360 --learning-rate 2e-4 --seeds 8",
        commands={
            "_all_methods": "rlx ablate grpo --task addition@digits=3@forgetful=0.8 --total-steps 15360 "
            "--learning-rate 2e-4 --seeds 8",
            "_4_digits": "rlx ablate grpo --task addition@digits=4@forgetful=0.8 --total-steps 25600 --learning-rate "
            "2e-4 --seeds 8 --methods grpo,ppo,rloo",
        },
        records="results/language_methods/addition*.json",
        content=outcomes.language_methods,
        headline="GRPO goes from {accuracy_warm_up} % ({interval_warm_up}) to {accuracy_grpo} % ({interval_grpo}) of "
        "held-out problems.",
        headings={
            "": "Three digits",
            "_all_methods": "Three digits, all methods, an earlier version",
            "_4_digits": "Four digits, an earlier version",
        },
        pictures={
            "": (
                "images/language_methods_addition.png",
                "What methods reach on additions: interquartile means and 95 % intervals over 8 seeds",
            )
        },
        notes=OF_RESPONSES,
        readings={
            "": """\
The methods see {responses} responses of each of {seeds} seeds. GRPO goes from {accuracy_warm_up} % of held-out
problems, answered greedily (95 % interval {interval_warm_up}), to {accuracy_grpo} % ({interval_grpo}). Dr. GRPO
reaches {accuracy_dr_grpo} % ({interval_dr_grpo}), PPO with a token critic {accuracy_ppo} % ({interval_ppo}) and DAPO,
which samples until every group has answers of different reward and so takes more of them, {accuracy_dapo} %
({interval_dapo}). {below}

The earlier version below reached 98 % with GRPO from the same accuracy, and a lower entropy, at the start. Why the
present one ends lower has not been found out.""",
            "_all_methods": EARLIER
            + """

All {count} methods see {responses} responses of each of {seeds} seeds. GRPO goes from {accuracy_warm_up} % of held-out
problems, answered greedily (95 % interval {interval_warm_up}), to {accuracy_grpo} % ({interval_grpo}). All but {far}
methods lie within two points of GRPO, so this task hardly tells methods apart. CoPO ends at {accuracy_copo} %. HPT
stays at {accuracy_hpt} %: where a group fails, HPT clones the task's solution, which is the forgetful one.""",
            "_4_digits": EARLIER
            + """

With four digits and {responses} responses of each of {seeds} seeds GRPO goes from {accuracy_warm_up} %
({interval_warm_up}) to {accuracy_grpo} % ({interval_grpo}), PPO to {accuracy_ppo} % and REINFORCE leave-one-out to
{accuracy_rloo} %.""",
        },
    ),
    "preference_methods_addition": Page(
        title="Preference training: additions, taught by one who forgets to carry",
        asked="Policies imitate worked additions of which four in five forget every carry. Their own answers are then "
        "paired, a right one with a wrong one, and a loss of preferences is descended on these pairs. How far does "
        "that take them?",
        command="rlx ablate dpo --task addition@forgetful=0.8 --methods dpo,ipo,kto,simpo --seeds 8",
        records="results/language_methods/preferences*.json",
        content=outcomes.language_methods,
        headline="DPO goes from {accuracy_warm_up} % to {accuracy_dpo} % ({interval_dpo}) of held-out problems; "
        "{worse} end below their start.",
        headings={"": "Three digits"},
        pictures={
            "": (
                "images/preference_methods_addition.png",
                "What losses of preferences reach on additions: interquartile means and 95 % intervals over 8 seeds",
            )
        },
        notes=OF_LANGUAGE.format(
            steps="pairs of the first policy's own answers",
            rate="The learning rate is 1e-5, that of the preset, for all methods",
        ),
        readings={
            "": """\
After {pairs} pairs of each of {seeds} seeds DPO has gone from {accuracy_warm_up} % of held-out problems
({interval_warm_up}) to {accuracy_dpo} % ({interval_dpo}), IPO to {accuracy_ipo} % ({interval_ipo}), KTO to
{accuracy_kto} % ({interval_kto}) and SimPO to {accuracy_simpo} % ({interval_simpo}). {below} At a learning rate of 1e-4
policies ended far below their start when it was tried. GRPO goes farther from such policies: it learns from answers
that its policy gives now."""
        },
    ),
    "language_methods_countdown": Page(
        title="Methods for language models: Countdown",
        asked="A policy is given numbers and a target, and writes an expression of the numbers that has the target's "
        "value; any such expression is right. How far do methods of policy optimization get from policies that "
        "imitated solutions?",
        command="rlx ablate grpo --task countdown --total-steps 15360 --learning-rate 2e-4 --seeds 8",
        records="results/language_methods/countdown*.json",
        content=outcomes.language_methods,
        headline="GRPO lifts greedy answers from {accuracy_warm_up} % to {accuracy_grpo} %, while {k} samples solve "
        "{pass_at_k_grpo} % instead of {pass_at_k_warm_up} %.",
        headings={"": "Countdown with three numbers"},
        pictures={
            "": (
                "images/language_methods_countdown.png",
                "What methods reach on Countdown: interquartile means and 95 % intervals over 8 seeds",
            )
        },
        notes=OF_RESPONSES,
        readings={
            "": EARLIER
            + """

All {count} methods see {responses} responses of each of {seeds} seeds. GRPO lifts greedy answers from
{accuracy_warm_up} % (95 % interval {interval_warm_up}) to {accuracy_grpo} % ({interval_grpo}) and single samples
from {pass_at_1_warm_up} % to {pass_at_1_grpo} %. Diversity is the price: {k} samples solve {pass_at_k_grpo} % of the
problems after GRPO and {pass_at_k_warm_up} % before, and {narrower} of {count} methods end below the start in this
measure. Demonstrations keep the policy wide: DyPO reaches {accuracy_dypo} % greedily and {pass_at_k_dypo} % with {k}
samples.

DAPO ended at {accuracy_dapo} %, below its start, since every other solution fills the room for a response and was
punished for its length twice as hard as in the paper. CoPO ends at {accuracy_copo} % and HPT at {accuracy_hpt} %. The
intervals of most other methods overlap with GRPO's: this comparison does not order them."""
        },
    ),
    "policy_losses": Page(
        title="Policy losses of PPO side by side",
        asked="Which of twelve policy losses hold on when PPO reuses each batch eight times, on the pendulum? Each "
        "loss takes the learning rate of three that is best on half of its 16 seeds, and is judged on the other half; "
        "all 576 runs are one compiled program.",
        command="rlx ablate ppo --env rlx:pendulum --sweep learning_rate=3e-4,1e-3,3e-3 --seeds 16 --methods "
        "clipped_surrogate,clip_higher,dual_clip,kl_penalty,balanced_clip,advantage_regression,clip_cov,ratio_variance,"
        "decoupled_clip,kl_cov,hazard_modulated,unclipped",
        records="results/policy_losses/pendulum*.json",
        content=outcomes.policy_losses,
        headline="{count} policy losses of PPO on the pendulum.",
        headings={"": "Pendulum"},
        pictures={"": ("images/ablation.png", "Learning curves of twelve policy losses on the pendulum")},
        notes="One task and one budget: this comparison says which losses hold on when a batch is reused, and not "
        "which loss is best.",
    ),
}
"""The pages by the names of their files."""

INDEX = """\
# Measurements

Written by `make docs` from the records in `experiments/benchmarks/results` and `experiments/results`. Each page has
the question, the command that measures anew, the numbers with their intervals, settings, machine and versions.

Intervals are 95 % bootstrap intervals: of the interquartile mean over seeds for what runs reach, of the
interquartile mean over repetitions for times, and of the median over pairs for ratios of times.
"""


def written() -> dict[str, str]:
    """The files of `docs/results` by name."""
    files, lines, waiting = {}, [], []
    for name, page in PAGES.items():
        records = records_of(page)
        files[f"{name}.md"] = render(page, records)
        link = f"[{page.title}]({name}.md)"
        if records:
            _, first = next(iter(records.values()))
            lines.append(f"- {link}: {page.headline.format(**page.content(first).figures)}")
        else:
            waiting.append(f"- {link}")
    lines.append(f"- [Claims of papers, tried](../claims.md): {claims()}")
    if waiting:
        lines += [
            "",
            "## Without a record",
            "",
            "These pages have the question and the command, and no numbers yet.",
            "",
        ]
        lines += waiting
    return {"README.md": "\n".join([INDEX, *lines]) + "\n", **files}


def claims() -> str:
    """How many statements of papers hold here."""
    found = [finding["verdict"] for record in verdicts() for finding in record["findings"]]
    count: Mapping[str, int] = {verdict: found.count(verdict) for verdict in ("shown", "open", "contradicted")}
    return (
        f"Of {len(found)} statements {count['shown']} are shown, {count['open']} are open and "
        f"{count['contradicted']} are contradicted."
    )
