"""From an observation to an action, through text.

A prompt says what the model is told, a client asks a server, a transcript keeps every reply, and a
policy plays with them. A language model is anything that follows the protocol
`model.LanguageModel`. Nothing in this folder knows a task or how agents learn.
"""
