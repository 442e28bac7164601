"""The objects of one namespace through the official client's connection: plain dictionaries, any kind."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kubernetes import client, config

from tests.cluster.emulator import CLUSTER_AGENT
from tests.cluster.resources import Document

SERVED_UNDER = {
    "configmaps": "/api/v1",
    "pods": "/api/v1",
    "deployments": "/apis/apps/v1",
    "seldondeployments": "/apis/machinelearning.seldon.io/v1",
}


class Documents:
    """Every call raises ApiException for a refusal; ``manager`` is the fieldManager of its requests."""

    def __init__(self, kubeconfig: Path, namespace: str, manager: str) -> None:
        self._client = config.new_client_from_config(str(kubeconfig))
        self._client.user_agent = CLUSTER_AGENT
        self._namespace = namespace
        self._manager = manager

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def list(self, plural: str) -> list[Document]:
        """All objects of a kind."""
        found: list[Document] = self._request("GET", plural)["items"]
        return found

    def create(self, plural: str, document: Document) -> Document:
        """Create an object; what was stored."""
        return self._request("POST", plural, body=document)

    def replace(self, plural: str, document: Document, subresource: str = "") -> Document:
        """PUT a document that was read and changed; ApiException 409 where it has changed since."""
        return self._request("PUT", plural, document["metadata"]["name"], subresource, document)

    def delete(self, plural: str, name: str) -> None:
        """Delete an object; one that is gone already is fine."""
        try:
            self._request("DELETE", plural, name)
        except client.ApiException as error:
            if error.status != 404:
                raise

    def _request(self, method: str, plural: str, name: str = "", subresource: str = "", body: Any = None) -> Document:
        path = "/".join(
            filter(None, (f"{SERVED_UNDER[plural]}/namespaces/{self._namespace}/{plural}", name, subresource))
        )
        request = self._client.param_serialize(
            method,
            path,
            query_params=[("fieldManager", self._manager)] if body else [],
            header_params={"Accept": "application/json", "Content-Type": "application/json"},
            body=body,
            auth_settings=["BearerToken"],
        )
        answer = self._client.call_api(*request)
        text = answer.read()
        if answer.status >= 400:
            raise client.ApiException(status=answer.status, reason=text.decode())
        document: Document = json.loads(text)
        return document
