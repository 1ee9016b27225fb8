"""The overlay's decisions: which tunnels there are, which ways packets take, what each site shall have.

Round by round, with the time as an argument: `mesh.next_mesh` says which lines are wanted, `replacing.step` which
versions of them, `candidates.Graph` with `scoring.score` and `choosing.choose` which way each class takes,
`congestion.relieve` who moves before an uplink is full, and `compiling.compile_plans` what each site shall have;
`site_plan.affected` says whom to tell.
"""
