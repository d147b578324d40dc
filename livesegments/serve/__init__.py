"""Pages and API of a running deployment: ``livesegments serve``.

Customers come from the store as of the last commit (`customers`, with the model of
`current_state`), everything else from a history that follows the topics
(`livesegments.history`). It reads only, and joins no group. `guard` admits requests, `api` answers
them, `changes_stream` sends changes as they come, from `change_log`; `app` puts all together.
"""
