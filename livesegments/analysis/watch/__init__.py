"""Live view of a running deployment, from its topics and its store; read-only.

`pollers` read, each in a thread of its own (`polling_thread`); `transition_window` counts changes;
`snapshot` is the state at one moment, which `views` draws, or writes as a line.
"""
