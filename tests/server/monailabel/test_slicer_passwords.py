"""MONAI Label's client logs in with a name and a token, and sees what is its user's alone."""

import warnings

import pytest
from slicer_panel import IN, OUT, infer


def test_names_and_passwords(server, module, tmp_path, upload, paint):
    """As the panel logs in; its client keeps headers of one call for the next, so each call has a new one, as there."""
    warnings.simplefilter("ignore", ResourceWarning)
    refused = module.MONAILabelClientException
    tokens = {name: server.service.tokens.create(name) for name in ("ida", "jan")}

    def client(user=None):
        client = module.MONAILabelClient(f"{server.url}/monailabel", tmpdir=str(tmp_path))
        if user:
            client.update_auth(passes[user])
        return client

    assert client().auth_enabled()
    assert not client().auth_valid_token()
    for call in (client().info, lambda: client().auth_token("ida", tokens["jan"])):
        with pytest.raises(refused) as error:
            call()
        assert error.value.status_code == 401
    passes = {user: client().auth_token(user, token) for user, token in tokens.items()}
    assert client("ida").auth_valid_token()
    session = client("ida").create_session(upload)["session_id"]
    assert infer(client("ida"), session, paint([IN], [OUT])).array[IN].all()
    client("ida").upload_image(upload, "case 7")
    for call in (
        lambda: client("jan").get_session(session),
        lambda: client("jan").remove_session(session),
        lambda: client("jan").download_label("case 7", "final"),
    ):
        with pytest.raises(refused) as error:
            call()
        assert error.value.status_code == 404
    for call in (
        lambda: infer(client("jan"), session, paint([IN])),
        lambda: client("jan").save_label("case 7", paint([IN])[0]),
    ):
        with pytest.raises(refused, match="Status: 404"):
            call()
    assert client("jan").info()["datastore"]["total"] == 0
