"""Keys that a CA must refuse, at the edge of those that it takes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certgrinderd.errors import MalformedInput
from certgrinderd.pki import keys
from certgrinderd.pki.csr import parse_csr
from tests.testbed import forge

P, Q = forge.primes()


def refusal(modulus: int, exponent: int = 65537) -> str:
    """Why a key is refused; nothing if it is taken."""
    try:
        keys.require_rsa(modulus, exponent)
    except MalformedInput as error:
        return str(error)
    return ""


@pytest.mark.parametrize("bits", [2048, 2056, 3072, 4096, 8184, 8192])
def test_rsa_size_is_taken(bits: int) -> None:
    """From 2,048 to 8,192 bits, in whole octets."""
    keys.require_rsa_size(bits)


@pytest.mark.parametrize("bits", [0, 1, 1024, 2040, 2047, 2049, 2052, 4095, 8193, 8200, 10**6])
def test_rsa_size_is_refused(bits: int) -> None:
    """Smaller, larger and odd ones, with the number and one that would be right."""
    with pytest.raises(MalformedInput, match=rf"has {bits} bits.*2048, 3072 or 4096"):
        keys.require_rsa_size(bits)


@pytest.mark.parametrize("exponent", [3, 17, 65535, 65537, 2**32 + 15, 2**64 - 1])
def test_odd_exponent_is_taken(exponent: int) -> None:
    """Baseline requirements, 6.1.6: odd and 3 at least."""
    assert refusal(P * Q, exponent) == ""


@pytest.mark.parametrize("exponent", [-3, 0, 1, 2, 4, 65536, 2**64 + 1, 2**2000 + 1])
def test_other_exponent_is_refused(exponent: int) -> None:
    """Even, 1, or so large that verifying takes long; a large one is not printed."""
    message = refusal(P * Q, exponent)
    assert message.startswith("the public exponent of the RSA key is ")
    assert len(message) < 120


@pytest.mark.parametrize("factor", [2, 3, 5, 7, 743, 751])
def test_small_factor_is_found(factor: int) -> None:
    """Every prime under 752."""
    assert "modulus" in refusal(factor * P * Q)
    assert refusal(757 * P * Q) == ""


def test_primes_close_together_are_found_within_100_rounds() -> None:
    """Fermat's method finds a - b and a + b once it arrives at a; the next a but 100 is too far."""
    root = math.isqrt(P * Q) | 1  # any odd number of that size; (a + b)(a - b) needs no primes here

    def modulus(rounds: int) -> int:
        # (a, b) with a the rounds-th after the root of a * a - b * b: b about sqrt(2 * rounds * a).
        b = math.isqrt(2 * rounds * root)
        return (root + b) * (root - b)

    assert keys._has_close_primes(modulus(0))
    assert keys._has_close_primes(modulus(1))
    assert keys._has_close_primes(modulus(99))
    assert not keys._has_close_primes(modulus(102))
    assert not keys._has_close_primes(P * Q)


def test_primes_of_the_flawed_library_are_found_in_the_modulus() -> None:
    """ROCA shows in the modulus when both primes are of that kind, and not with one of them."""
    first, second = forge.roca_prime(1), forge.roca_prime(2)
    assert "CVE-2017-15361" in refusal(first * second)
    assert refusal(first * P) == ""


@given(st.integers(min_value=2**2047, max_value=2**2048 - 1), st.integers())
def test_any_numbers_get_an_answer(modulus: int, exponent: int) -> None:
    """Nothing is divided by zero and no root of a negative number is drawn."""
    assert refusal(modulus, exponent).isprintable()


def test_ed25519_is_the_admins_choice() -> None:
    """allow-key-types lets it in, and can shut out RSA; Ed448 is for nobody."""
    ed25519, rsa, ecdsa = (
        forge.pem(forge.csr(key=key)) for key in (forge.ed25519_key(), forge.rsa_of(P, Q), None)
    )
    parse_csr(ed25519, key_types=("ecdsa", "ed25519"))
    parse_csr(ecdsa, key_types=("ecdsa", "ed25519"))
    with pytest.raises(MalformedInput, match="RSA, which this server does not permit: use ECDSA"):
        parse_csr(rsa, key_types=("ecdsa", "ed25519"))
    with pytest.raises(MalformedInput, match="Ed448, which public CAs refuse"):
        parse_csr(forge.pem(forge.csr(key=forge.ed448_key())), key_types=("rsa", "ed25519"))
