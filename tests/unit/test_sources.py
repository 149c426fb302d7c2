"""Settings from a file, a command line and a caller, and which one wins."""

from __future__ import annotations

import re
import traceback

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from certgrinderd.errors import CertgrinderdError, ConfigurationError
from certgrinderd.settings.kinds import FLAG
from certgrinderd.settings.sources import Source, from_mapping, from_yaml, merge
from certgrinderd.settings.table import LETS_ENCRYPT, LETS_ENCRYPT_STAGING, OPTIONS

# A value of each kind that is not the default, as YAML has it.
OTHER_VALUES: dict[str, object] = {
    "acme-fallback-server-url": "https://other.example/directory",
    "acme-profile": "shortlived",
    "acme-server-url": "https://ca.example/directory",
    "allow-key-types": ["ecdsa", "ed25519"],
    "chain-length": 3,
    "client-acme-servers": ["https://a.example/dir", "https://b.example/dir"],
    "log-level": "WARNING",
    "preferred-chain": "ISRG_Root_X1",
    "replaces": "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE",
    "syslog-facility": "LOG_LOCAL0",
}


def other_value(name: str) -> object:
    """A value that is not the option's default."""
    option = OPTIONS[name]
    if option.kind is FLAG:
        return True
    if isinstance(option.default, int):
        return option.default + 1
    return OTHER_VALUES.get(name, "some/text")


@pytest.mark.parametrize("name", [name for name, option in OPTIONS.items() if option.in_file])
def test_every_option_can_be_a_key_of_the_file(name: str) -> None:
    """Each key's value comes out as it went in, and its origin is the file."""
    value = other_value(name)
    merged = merge(from_yaml(yaml.safe_dump({name: value}), path="F"))
    expected = tuple(value) if isinstance(value, list) else value
    assert merged.settings.values()[name] == expected
    assert merged.origins[name] == "configuration file"
    untouched = set(OPTIONS) - {name, "log-level", "acme-server-url"}
    assert all(merged.origins[other] == "default" for other in untouched)


@pytest.mark.parametrize("text", ["", "\n\n", "# a comment\n", "---\n", "---\n...\n"], ids=repr)
def test_empty_file_is_an_empty_configuration(text: str) -> None:
    """Nothing but comments means defaults."""
    assert from_yaml(text, path="F").values == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "acme-emial: x",
            "F, line 1: there is no option 'acme-emial': did you mean 'acme-email'?",
            id="near miss",
        ),
        pytest.param(
            "\nacme_zone: x",
            "F, line 2: there is no option 'acme_zone': did you mean 'acme-zone'?",
            id="underscore",
        ),
        pytest.param("qqqq: x", "F, line 1: there is no option 'qqqq'", id="nothing like it"),
        pytest.param("1: x", "F, line 1: there is no option '1'", id="a number for a key"),
        pytest.param(
            "config-file: x",
            "F, line 1: config-file belongs on the command line only",
            id="not here",
        ),
        pytest.param(
            "debug: true\ndebug: false", "F, line 2: debug is set twice", id="a key twice"
        ),
        pytest.param(
            "lock-timeout: soon",
            "F, line 1: lock-timeout: expected a whole number of seconds from 0 to 86400, "
            "not 'soon'",
            id="text for a number",
        ),
        pytest.param(
            "lock-timeout: -1", "a whole number of seconds from 0 to 86400, not -1", id="negative"
        ),
        pytest.param("lock-timeout: 1.5", "not 1.5", id="fraction"),
        pytest.param("lock-timeout: true", "not True", id="truth for a number"),
        pytest.param("lock-timeout: 86401", "not 86401", id="more than a day"),
        pytest.param("acme-zone: 12", "expected text, in quotes where", id="number for text"),
        pytest.param('acme-zone: "a\\nb"', "expected text", id="text with a newline"),
        pytest.param("acme-zone: [a]", "expected text", id="list for text"),
        pytest.param("acme-zone: {a: b}", "expected text", id="mapping for text"),
        pytest.param("debug: yes please", "expected true or false, not 'yes please'", id="flag"),
        pytest.param("debug: 1", "expected true or false, not 1", id="number for a flag"),
        pytest.param("log-level: LOUD", "expected one of DEBUG, INFO,", id="level"),
        pytest.param(
            "acme-server-url: http://a.example/",
            "expected a URL that starts with https://, not 'http://a.example/'",
            id="plain http",
        ),
        pytest.param("acme-server-url: file:///etc/passwd", "starts with https://", id="file"),
        pytest.param("client-acme-servers: {a: b}", "expected a list of URLs", id="no list"),
        pytest.param("client-acme-servers: [1]", "expected a list of URLs", id="list of numbers"),
        pytest.param(
            "auth-hook: 'a \"b'", "not valid for a shell: No closing quot", id="open quote"
        ),
        pytest.param("preferred-chain: --pre-hook", "the name of a chain", id="chain"),
        pytest.param("- a", "expected lines of the form 'option: value', not a list", id="list"),
        pytest.param("hello", "expected lines of the form 'option: value', not a sin", id="text"),
        pytest.param("a: b: c", "F, line 1: not YAML: mapping values are not", id="no YAML"),
        pytest.param("a: 'b", "not YAML", id="quote that doesn't end"),
        pytest.param("a: \x01", "not YAML", id="control character"),
        pytest.param("a: &x b\nc: *x", "F, line 1: not YAML: anchors", id="anchor"),
        pytest.param("acme-zone: *x", "F, line 1: not YAML: anchors", id="alias"),
        pytest.param("a: !!python/name:os.system x", "not YAML: could not determine", id="a tag"),
        pytest.param("? [a, b]\n: c", "there is no option \"['a', 'b']\"", id="list for a key"),
        pytest.param("a: b\n---\nc: d", "not YAML: but found another document", id="two documents"),
        pytest.param("[" * 3000, "not YAML", id="deep nesting"),
    ],
)
def test_file_that_is_wrong_is_one_clear_line(text: str, message: str) -> None:
    """The line names the file, the place and what is expected."""
    with pytest.raises(ConfigurationError) as caught:
        from_yaml(text, path="F")
    assert message in str(caught.value)
    assert str(caught.value).startswith("F")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("eab-hmac-key: |\n  SECRET\n", id="a line break at its end"),
        pytest.param("eab-hmac-key: [SECRET]", id="a list"),
        pytest.param("acme-fallback-eab-hmac-key: {SECRET: 1}", id="a mapping"),
        pytest.param("eab-hmac-key: !SECRET x", id="a tag"),
        pytest.param("eab-hmac-key: !!float SECRET", id="a number that is none"),
        pytest.param('auth-hook: "/opt/hook \'SECRET"', id="a quote that is not closed"),
        pytest.param("cleanup-hook: [/opt/hook, SECRET]", id="a command as a list"),
        pytest.param("acme-client-command: /opt/get 'SECRET", id="another command"),
    ],
)
def test_secret_or_command_is_never_quoted(text: str) -> None:
    """Not even when it is malformed: clients read the message. Other values are quoted."""
    with pytest.raises(ConfigurationError) as caught:
        from_yaml(text, path="F")
    assert "SECRET" not in str(caught.value)
    assert "SECRET" not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(ConfigurationError, match="not 'soon'"):
        from_yaml("lock-timeout: soon", path="F")


@given(st.text(max_size=200))
def test_any_text_is_read_or_an_error(text: str) -> None:
    """No text of a configuration file leads to anything else."""
    try:
        from_yaml(text, path="F")
    except CertgrinderdError:
        return


@given(
    st.dictionaries(
        st.one_of(st.sampled_from(sorted(OPTIONS)), st.text(max_size=8)),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.dates()),
            lambda inner: st.lists(inner, max_size=3),
        ),
        max_size=4,
    )
)
def test_any_mapping_is_read_or_an_error(mapping: dict[str, object]) -> None:
    """A value of any type at any key gives settings or a ConfigurationError."""
    try:
        source = from_yaml(yaml.safe_dump(mapping), path="F")
    except ConfigurationError:
        return
    assert set(source.values) == set(mapping)


@pytest.mark.parametrize("name", [n for n in OPTIONS if n not in {"staging", "debug"}])
def test_later_source_beats_earlier(name: str) -> None:
    """Default, file, command line: the last one that says something wins."""
    value = other_value(name)
    parsed = OPTIONS[name].parse(value, label="x")
    file = Source("file", {name: OPTIONS[name].default})
    line = Source("line", {name: parsed})
    assert merge(file, line).settings.values()[name] == parsed
    assert merge(file, line).origins[name] == "line"
    assert merge(line, file).settings.values()[name] == OPTIONS[name].default


@pytest.mark.parametrize(
    ("sources", "url", "staging"),
    [
        pytest.param([], LETS_ENCRYPT, False, id="nothing said"),
        pytest.param([{"staging": True}], LETS_ENCRYPT_STAGING, True, id="staging"),
        pytest.param(
            [{"acme-server-url": "https://a/", "staging": True}],
            LETS_ENCRYPT_STAGING,
            True,
            id="both in one place",
        ),
        pytest.param(
            [{"acme-server-url": "https://a/"}, {"staging": True}],
            LETS_ENCRYPT_STAGING,
            True,
            id="staging later",
        ),
        pytest.param(
            [{"staging": True}, {"acme-server-url": "https://a/"}],
            "https://a/",
            False,
            id="a URL later",
        ),
        pytest.param([{"staging": False}], LETS_ENCRYPT, False, id="switched off"),
    ],
)
def test_staging_is_another_word_for_a_url(
    sources: list[dict[str, str | bool]], url: str, *, staging: bool
) -> None:
    """In one place staging wins; between places the later one does."""
    merged = merge(*(Source(str(number), values) for number, values in enumerate(sources)))
    assert (merged.settings.acme_server_url, merged.settings.staging) == (url, staging)


def test_debug_is_another_word_for_a_level() -> None:
    """`debug: true` means DEBUG; a level on the command line beats it."""
    file = from_yaml("debug: true\n", path="F")
    assert merge(file).settings.log_level == "DEBUG"
    line = Source("line", {"log-level": "ERROR"})
    assert merge(file, line).settings.log_level == "ERROR"
    assert not merge(file, line).settings.debug


def test_null_means_unset() -> None:
    """A key without a value is the default again, as `show configuration` writes it."""
    assert from_yaml("acme-zone:\nlog-level: ~\n", path="F").values == {
        "acme-zone": None,
        "log-level": "INFO",
    }


@pytest.mark.parametrize("name", list(OPTIONS))
@pytest.mark.parametrize("blank", ["", " ", None])
def test_blank_value_unsets_the_option(name: str, blank: str | None) -> None:
    """In the file, on the command line and for a caller: what another source sets is unset."""
    value = OPTIONS[name].parse(other_value(name), label="x")
    assert value != OPTIONS[name].default
    before = Source("before", {name: value})
    unset = from_mapping({name: blank}, name="userconfig")
    assert unset.values == {name: OPTIONS[name].default}
    assert merge(before, unset).settings.values()[name] == OPTIONS[name].default
    if OPTIONS[name].in_file:
        assert from_yaml(yaml.safe_dump({name: blank}), path="F").values == unset.values


def test_values_of_a_caller_are_checked_as_well() -> None:
    """What Python code passes in goes the same way."""
    assert from_mapping({"acme-zone": "a.example"}, name="userconfig").values == {
        "acme-zone": "a.example"
    }
    with pytest.raises(ConfigurationError, match=re.escape("userconfig: debug: expected true or")):
        from_mapping({"debug": "yes"}, name="userconfig")
    with pytest.raises(ConfigurationError, match="did you mean 'web-root'"):
        from_mapping({"webroot": "/x"}, name="userconfig")
