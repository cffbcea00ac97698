"""From an observation to an action, through text: prompts, a client for language models, the record of every call.

A language model here is any object with `request(messages)`, the JSON body that would be sent, and
`complete(messages, sample)`, a Reply; `sample` is (seed, episode, step, attempt). Its attributes are `name`, `source` (who
played, for D's metadata) and `settings`, a dict of what replies depend on besides. Nothing in this folder knows how
agents learn.
"""
