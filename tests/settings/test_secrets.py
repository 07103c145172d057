from __future__ import annotations

from worker.settings import KafkaSettings, Spec
from worker.settings.secrets import secrets_of


def test_every_secret_of_the_settings_is_found() -> None:
    kafka = KafkaSettings.model_validate(
        {
            "brokers": "localhost:9092",
            "security": {
                "protocol": "SASL_SSL",
                "mechanism": "PLAIN",
                "username": "me",
                "password": "first",
                "key": "key.pem",
                "certificate": "certificate.pem",
                "key_password": "second",
            },
        }
    )

    assert sorted(secrets_of(Spec.of_cluster(kafka))) == ["first", "second"]
