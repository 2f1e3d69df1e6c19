"""Games as environments: Atari and Catch, one or many, in this process or in workers."""

from mbpo_fast.envs.halves import HalvedVectorEnv, make_halves
from mbpo_fast.envs.make import make_env, make_vec
from mbpo_fast.envs.settings import EnvSettings
from mbpo_fast.envs.single import GameEnv
from mbpo_fast.envs.vector import GameVectorEnv
from mbpo_fast.envs.verify import Check, stack_pngs, verify_env

__all__ = [
    "Check",
    "EnvSettings",
    "GameEnv",
    "GameVectorEnv",
    "HalvedVectorEnv",
    "make_env",
    "make_halves",
    "make_vec",
    "stack_pngs",
    "verify_env",
]
