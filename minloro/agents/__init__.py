"""Learners. They share a protocol, not a parent:

    agent.encode(observations)        what the replay buffer stores and the two methods below take
    agent.act(encoded, rng=None)      one action: greedy, or exploring with a generator
    agent.update(batch, rng)          one gradient step on a transitions.Minibatch, its observations encoded
    agent.batch_size                  rows of that minibatch; or 0, and in the place of update
    agent.learn(s, a, r, s', terminated)   one step on one transition, encoded
    agent.save(path), agent.load(path)
    agent.pretraining()               optional: a context in which it is pretrained

Nothing in this folder knows of language models.
"""
