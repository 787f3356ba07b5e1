"""Ten seconds of load through the practice network, from perf/'s generator in the sender's namespace to its sink in the
Internet's: the main job's rate, latency and conservation."""


def run(practice, say, note):
    """Returns a list of problems."""
    say("burst: no load generator is built")
    return ["no load generator: the burst was not run"]
