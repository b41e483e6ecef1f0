"""MONAI Label's client logs in with a name and a token, and sees what is its user's alone."""

import warnings

import pytest
from serving import serving
from slicer_panel import IN, OUT, infer

from bifseg.server.settings import Settings


def test_names_and_passwords(module, tmp_path, upload, tmp_path_factory, paint):
    """As the panel logs in; its client keeps headers of one call for the next, so each call has a new one, as there."""
    warnings.simplefilter("ignore", ResourceWarning)
    refused = module.MONAILabelClientException
    with serving(Settings(tmp_path_factory.mktemp("store"), threads=1)) as server:
        tokens = {name: server.service.tokens.create(name) for name in ("ann", "bob")}

        def client(user=None):
            client = module.MONAILabelClient(f"{server.url}/monailabel", tmpdir=str(tmp_path))
            if user:
                client.update_auth(passes[user])
            return client

        assert client().auth_enabled()
        assert not client().auth_valid_token()
        for call in (client().info, lambda: client().auth_token("ann", tokens["bob"])):
            with pytest.raises(refused) as error:
                call()
            assert error.value.status_code == 401
        passes = {user: client().auth_token(user, token) for user, token in tokens.items()}
        assert client("ann").auth_valid_token()
        session = client("ann").create_session(upload)["session_id"]
        assert infer(client("ann"), session, paint([IN], [OUT])).array[IN].all()
        client("ann").upload_image(upload, "case 7")
        for call in (
            lambda: client("bob").get_session(session),
            lambda: client("bob").remove_session(session),
            lambda: client("bob").download_label("case 7", "final"),
        ):
            with pytest.raises(refused) as error:
                call()
            assert error.value.status_code == 404
        for call in (
            lambda: infer(client("bob"), session, paint([IN])),
            lambda: client("bob").save_label("case 7", paint([IN])[0]),
        ):
            with pytest.raises(refused, match="Status: 404"):
                call()
        assert client("bob").info()["datastore"]["total"] == 0
