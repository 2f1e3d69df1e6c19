"""The model card of a policy folder: Markdown with the metadata block that model hubs read."""

from collections.abc import Mapping
from typing import Any

from mbpo_fast.config import Config, differences
from mbpo_fast.config.strict_yaml import dump_yaml


def model_card(config: Config, description: Mapping[str, Any]) -> str:
    """The text of README.md; `description` is what config.json says."""
    name = f"{description['algorithm'].upper()} on {description['env_id']}"
    sections = [
        f"---\n{dump_yaml(_metadata(description, name))}---",
        f"# {name}",
        _origin(config, description),
        "## Scores",
        _scores(description["evaluation"]),
        "## Use it",
        _usage(description),
        "## Settings that differ from the defaults",
        _settings(config),
        "## Limits",
        _limits(config),
    ]
    return "\n\n".join(sections) + "\n"


def _metadata(description: Mapping[str, Any], name: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "library_name": "mbpo_fast",
        "pipeline_tag": "reinforcement-learning",
        "tags": ["reinforcement-learning", "atari", description["algorithm"], description["env_id"]],
    }
    evaluation = description["evaluation"]
    if evaluation:
        score = f"{evaluation['mean']:.2f} +/- {evaluation['std']:.2f}"
        metadata["model-index"] = [
            {
                "name": name,
                "results": [
                    {
                        "task": {"type": "reinforcement-learning", "name": "reinforcement-learning"},
                        "dataset": {"name": description["env_id"], "type": description["env_id"]},
                        "metrics": [{"type": "mean_reward", "value": score, "name": "mean_reward"}],
                    }
                ],
            }
        ]
    return metadata


def _origin(config: Config, description: Mapping[str, Any]) -> str:
    frames = description["env_steps"] * config.env.frame_skip
    return (
        f"A policy for {description['env_id']}, trained by mbpo_fast {description['mbpo_fast']} with seed "
        f"{config.seed}: {description['env_steps']:,} agent steps ({frames:,} frames) and "
        f"{description['gradient_steps']:,} policy updates."
    )


def _scores(evaluation: Mapping[str, Any] | None) -> str:
    if not evaluation:
        return "Not evaluated when it was saved."
    low, high = evaluation["ci95"]
    cells = [
        f"{evaluation['mean']:.1f}",
        f"{low:.1f} to {high:.1f}",
        f"{evaluation['median']:.1f}",
        f"{evaluation['min']:.1f} to {evaluation['max']:.1f}",
        f"{evaluation['episodes']}",
        f"{evaluation['distinct_games']}",
    ]
    return (
        "| mean | 95 % interval | median | range | games | distinct games |\n"
        f"|---|---|---|---|---|---|\n| {' | '.join(cells)} |\n\nProtocol: {evaluation['protocol']}."
    )


def _usage(description: Mapping[str, Any]) -> str:
    return (
        "```python\n"
        "import mbpo_fast\n\n"
        'agent = mbpo_fast.load_agent("path/to/this/folder")\n'
        f'env = mbpo_fast.make_vec("{description["env_id"]}", num_envs=8)\n'
        "obs, infos = env.reset(seed=0)\n"
        "actions = agent.act(obs)\n"
        'print(mbpo_fast.evaluate(agent, episodes=10)["mean"])\n'
        "```"
    )


def _settings(config: Config) -> str:
    default = Config()
    changed = differences(default.model_copy(update={"agent": type(config.agent)()}), config)
    if config.agent.kind != default.agent.kind:
        changed.insert(0, ("agent.kind", default.agent.kind, config.agent.kind))
    rows = [f"| `{key}` | {new} | {old} |" for key, old, new in changed]
    if not rows:
        return "None."
    return "\n".join(["| setting | this policy | default |", "|---|---|---|", *rows])


def _limits(config: Config) -> str:
    return (
        "The scores hold for this game and this protocol, and for one training seed. The policy sees "
        f"{config.env.frame_stack} gray frames as mbpo_fast prepares them; other preprocessing gives other "
        "scores."
    )
