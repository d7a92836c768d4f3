import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from csfs.errors import ConfigError, NotPermittedError
from csfs.trust import authority
from csfs.trust.identities import Identity, Revoked, identity_from, identity_of_peer, uri_of

NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)


def member_certificate(cluster="web", member="ash", now=NOW):
    made = authority.new_authority(cluster, now)
    pem = made.sign(authority.request_of(authority.new_key(), member), member, now)
    return made, x509.load_pem_x509_certificate(pem)


def point(made):
    return authority.public_point(made.key.public_key())


def test_a_member_is_who_the_authority_says():
    made, certificate = member_certificate()
    identity = authority.verified_identity(certificate, point(made), NOW)
    assert identity == Identity("web", "ash", certificate.serial_number)


def test_a_certificate_of_another_authority_is_not_ours():
    _, certificate = member_certificate()
    with pytest.raises(NotPermittedError, match="not made by this cluster"):
        authority.verified_identity(certificate, point(authority.new_authority("web", NOW)), NOW)


@pytest.mark.parametrize("days", [-2, 30_000])
def test_a_certificate_is_good_for_its_time_alone(days):
    made, certificate = member_certificate()
    with pytest.raises(NotPermittedError, match="compare the clocks"):
        authority.verified_identity(certificate, point(made), NOW + datetime.timedelta(days=days))


def test_a_host_whose_clock_is_a_little_behind_accepts_a_new_certificate():
    made, certificate = member_certificate()
    assert authority.verified_identity(certificate, point(made), NOW - datetime.timedelta(hours=12)).member == "ash"


def test_a_member_cannot_make_members():
    _, certificate = member_certificate()
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert not constraints.ca
    assert not usage.key_cert_sign


def test_the_name_is_the_invitations_whatever_the_request_says():
    made = authority.new_authority("web", NOW)
    pem = made.sign(authority.request_of(authority.new_key(), "root"), "ash", NOW)
    assert authority.verified_identity(x509.load_pem_x509_certificate(pem), point(made), NOW).member == "ash"


def test_serials_are_not_used_twice():
    made = authority.new_authority("web", NOW)
    request = authority.request_of(authority.new_key(), "ash")
    serials = {x509.load_pem_x509_certificate(made.sign(request, "ash", NOW)).serial_number for _ in range(5)}
    assert len(serials) == 5


def request_with(key) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ash")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(
    "key", [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())], ids=["rsa", "p384"]
)
def test_keys_of_another_kind_are_refused(key):
    with pytest.raises(NotPermittedError, match="P-256"):
        authority.key_of_request(request_with(key))


def test_a_request_for_a_key_that_its_maker_does_not_have_is_refused():
    request = x509.load_pem_x509_csr(request_with(authority.new_key()))
    broken = bytearray(request.public_bytes(serialization.Encoding.DER))
    broken[-1] ^= 1
    try:
        pem = x509.load_der_x509_csr(bytes(broken)).public_bytes(serialization.Encoding.PEM)
    except ValueError:
        return
    with pytest.raises(NotPermittedError):
        authority.key_of_request(pem)


@pytest.mark.parametrize("request_text", [b"", b"-----BEGIN CERTIFICATE REQUEST-----\n", b"\xff" * 100])
def test_what_is_no_request_is_refused(request_text):
    with pytest.raises(NotPermittedError, match="cannot be read"):
        authority.key_of_request(request_text)


@pytest.mark.parametrize("name", ["", "a b", "../x", "-rf", "a/b", "ä", "a" * 64, "a\n"])
def test_names_that_would_need_quoting_are_refused(name):
    with pytest.raises(ConfigError, match="letters, digits"):
        uri_of("web", name)
    with pytest.raises(ConfigError, match="letters, digits"):
        uri_of(name, "ash")


@pytest.mark.parametrize(
    "uris", [(), ("https://web/ash",), ("csfs://web/ash", "csfs://web/elm"), ("csfs://web",), ("csfs:///ash",)]
)
def test_a_certificate_names_exactly_one_member(uris):
    with pytest.raises(NotPermittedError, match="names no member"):
        identity_from(uris, 1)


def described(member="ash", cluster="web", serial="0A"):
    return {"subjectAltName": (("DNS", "x"), ("URI", f"csfs://{cluster}/{member}")), "serialNumber": serial}


def test_a_peer_is_identified_by_its_certificate():
    assert identity_of_peer(described(), Revoked(), "web") == Identity("web", "ash", 10)


@pytest.mark.parametrize(
    ("revoked", "cluster", "reason"),
    [
        (Revoked(), "mail", "belongs to cluster web"),
        (Revoked(serials={10}), "web", "revoked"),
        (Revoked(members={"ash"}), "web", "revoked"),
    ],
)
def test_a_peer_that_is_trusted_no_longer_is_refused(revoked, cluster, reason):
    with pytest.raises(NotPermittedError, match=reason):
        identity_of_peer(described(), revoked, cluster)
