"""Every error of the worker.

* WorkerError
  - BadConfiguration            exit code 78, carries every Problem
  - BrokersUnreachable          exit code 69
  - CannotListen                the HTTP endpoint's address cannot be had: exit code 78
  - ClientError
    + QueueFull                 the producer's queue is full: poll, then send the same record again
    + CommitFailed
    + ClientFatal               this client is of no more use: make a new one
    + Fenced                    another process has taken this one's identity: exit code 3
  - PipelineFailed              a pipeline stopped for good
  - BrokerUnavailable           no real broker can be had on this machine
    + BrokerFailed              a broker of ours did not start or did not stay up

Raised by handlers:
* Reject                        this message is of no use to anybody: straight to the dead letters
"""

from __future__ import annotations

from collections.abc import Sequence

from worker.types import Problem


class WorkerError(Exception):
    """Base of every error that the worker raises."""


class BadConfiguration(WorkerError):
    """The spec, the handlers or the topics cannot work; `problems` names every place."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


class BrokersUnreachable(WorkerError):
    """No broker answered in time."""


class CannotListen(WorkerError):
    """The address of the HTTP endpoint is taken, or is not one of this machine."""


class ClientError(WorkerError):
    """The Kafka client reported an error."""


class QueueFull(ClientError):
    """The producer's queue is full: serve deliveries, then send the same record again."""


class CommitFailed(ClientError):
    """Offsets were not committed; their messages may be delivered again."""


class ClientFatal(ClientError):
    """The client cannot go on; a new one can."""


class Fenced(ClientError):
    """Another process uses the same identity and has taken it over."""


class PipelineFailed(WorkerError):
    """A pipeline stopped for good."""


class BrokerUnavailable(WorkerError):
    """No real Apache Kafka can be had on this machine."""


class BrokerFailed(BrokerUnavailable):
    """A broker did not start, or did not stay up."""


class Reject(Exception):
    """Raised by a handler: the message can never be handled and goes to the dead letters.

    `reason` is written to the dead letter, so it must hold no payload.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
