"""The scenario that `llmbench schedule --example` prints, to be changed into one's own."""

from __future__ import annotations

EXAMPLE = """\
{
  // What it shows; printed above the schedule. Comments like this one may stand anywhere.
  "about": "Five blocks for two requests that come to hold three each, and a third.",

  // A preset of `llmbench engines`. With changes:
  //   "engine": {"preset": "paged", "delay_factor": 2.0}
  "engine": "paged",

  // The KV pool, in blocks or as "pool_tokens"; room on the host for who is swapped out.
  "block_size": 4,
  "pool_blocks": 5,
  "host_blocks": 0,

  // What bounds a step, each with a default: sequences at a time, tokens computed in a step, and
  // tokens that one request may reach.
  "limits": {"max_num_seqs": 4, "max_num_batched_tokens": 16},

  // A request is its lengths. It comes just before arrival_step and always produces
  // output_tokens for each of its n samples. A lower priority goes first. Fronts of
  // shared_prefix_tokens are equal in all requests of one "shared_prefix" (a name; "" if left out).
  "requests": [
    {"id": "a", "prompt_tokens": 8, "output_tokens": 5},
    {"id": "b", "prompt_tokens": 8, "output_tokens": 4, "shared_prefix_tokens": 4},
    {"id": "c", "prompt_tokens": 6, "output_tokens": 3, "shared_prefix_tokens": 4,
     "arrival_step": 2, "n": 1, "priority": 0, "abort_step": 9}
  ]
}
"""
