"""Chat templates: the same texts as transformers makes of them, and no way out of their sandbox."""

import json
import time
from datetime import datetime

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

import zoo
from zoo._loading.chat_files import chat_files
from zoo._loading.located import Located
from zoo._preprocessing.chat_template import rendered
from zoo._registry.entry import Entry

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}
# In the manner of families of chat models.
MARKED = """\
{% for message in messages %}
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{%- if not loop.last %}{{ '' }}{% endif %}
{% endfor %}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""
HEADED = """\
{{- bos_token }}
{%- set today = date_string if date_string is defined else strftime_now("%d %b %Y") %}
{%- set ns = namespace(system="", rest=messages) %}
{%- if messages and messages[0]['role'] == 'system' %}
    {%- set ns.system = messages[0].content | trim %}{%- set ns.rest = messages[1:] %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\nToday: " ~ today ~ "\\n" ~ ns.system ~ "<|eot_id|>" }}
{%- for message in ns.rest %}
    {%- generation %}{{- '<|start_header_id|>' + message.role }}{%- endgeneration %}
    {{- '<|end_header_id|>\\n\\n' }}
    {{- message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"""
TURNS = """\
{{ bos_token }}{% for message in messages %}{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('roles must take turns: user, assistant, user ...') }}{% endif %}\
{% if message.role == 'user' %}{{ ' [INST] ' ~ message.content ~ ' [/INST]' }}\
{% else %}{{ ' ' ~ message.content|trim ~ eos_token }}{% endif %}{% endfor %}"""
TOOLED = """\
{%- macro line(role, text) -%}<|{{ role }}|>{{ caller() if caller else '' }}\
{{ text }}</{{ role[:2] | upper }}>{%- endmacro %}
{%- if tools %}
    {{- '# Tools\\n' }}
    {%- for tool in tools %}{{- tool | tojson }}{{ '\\n' }}\
{{ tool.function.name | tojson(indent=2) }}{%- endfor %}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'tool' %}{% continue %}{% endif %}
    {%- if message.content is string %}{{- line(message.role, message.content) }}
    {%- else %}{%- for part in message.content if part.type == 'text' %}\
{{- line(message.role, part.text) }}{%- endfor %}{%- endif %}
    {%- for call in message.tool_calls or [] %}\
{% call line('call', call.function.arguments | tojson) %}{{ loop.index }}{% endcall %}{%- endfor %}
    {%- if message.reasoning_content is defined %}\
{{- '<think>' + message.reasoning_content + '</think>' }}{% endif %}
{%- endfor %}
{{- dict(a=1, **{'b': none}) | tojson }}"""
LISTED = """\
{% set ns = namespace(found=false, count=0) %}
{% for message in messages[::-1] %}
  {% if message.role == "user" and not ns.found %}
    {% set ns.found = true %}
    {% set ns.count = ns.count + loop.index %}
  {% endif %}
{% endfor %}
{% for role, group in messages | groupby('role') %}
  {{ role | capitalize }}: {{ group | map(attribute='role') | join(', ') }}
  {{ '%s-%03d' | format(role, ns.count) }}
{% endfor %}
{{ enable_thinking | default('unknown') }} {{ missing_token }} {{ messages | length * 2 ** 3 }}"""
MESSAGES = [
    {"role": "user", "content": " What is 1 < 2 & \"so\" 'on'?\n"},
    {"role": "assistant", "content": "Grüße, 你好 ", "thinking": "hm"},
    {"role": "user", "content": "<b>Thanks</b>"},
]
TOOLS = [
    {"type": "function", "function": {"name": "sum_ü", "parameters": {"type": "object", "b": [1, 2.5, None]}}}
]
CALLS = [
    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "look"}]},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"function": {"name": "f", "arguments": {"x": "é", "y": [True]}}}],
    },
    {"role": "tool", "content": "3"},
]
SYSTEM = [{"role": "system", "content": "  Be brief. "}, *MESSAGES]
CASES = {
    "marked": (MARKED, MESSAGES, {}),
    "marked, to be continued": (MARKED, MESSAGES, {"add_generation_prompt": True}),
    "headed": (HEADED, SYSTEM, {"date_string": "1 Jan", "add_generation_prompt": True}),
    "headed, without a system": (HEADED, MESSAGES, {"date_string": "1 Jan"}),
    "turns": (TURNS, MESSAGES, {}),
    "tools": (TOOLED, CALLS, {"tools": TOOLS}),
    "tools, reasoning": (TOOLED, MESSAGES, {}),
    "listed": (LISTED, MESSAGES, {"enable_thinking": False}),
}


@pytest.fixture(scope="module")
def theirs() -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, unk_token="a")), **SPECIAL
    )


def located(directory, **config) -> Located:
    (directory / "tokenizer_config.json").write_text(json.dumps({**SPECIAL, **config}))
    return Located(entry=Entry("chatty", 0, family="gpt2"), directory=directory)


def applied(of: Located, messages, **options) -> str:
    from zoo._preprocessing import chat_template

    variables = {name: options.pop(name) for name in ("date_string", "enable_thinking") if name in options}
    return chat_template.applied(
        of, messages, **{"add_generation_prompt": False, **options}, variables=variables
    )


@pytest.mark.parametrize(("template", "messages", "options"), CASES.values(), ids=CASES)
def test_texts_are_those_of_transformers(theirs, tmp_path, template, messages, options):
    wanted = theirs.apply_chat_template(messages, chat_template=template, tokenize=False, **options)
    assert applied(located(tmp_path, chat_template=template), messages, **options) == wanted
    assert len(wanted) > 40


def test_a_template_is_found_where_it_is(tmp_path):
    """A file of its own counts more than tokenizer_config.json, which may have several."""
    named = [{"name": name, "template": name} for name in ("default", "tool_use", "rag")]
    of = located(tmp_path, chat_template=named, eos_token={"content": "<end>", "lstrip": False})
    assert chat_files(of).special_tokens == {"bos_token": "<s>", "eos_token": "<end>"}
    assert [
        applied(of, MESSAGES, **options)
        for options in ({}, {"tools": TOOLS}, {"chat_template": "rag"}, {"chat_template": "{{ eos_token }}"})
    ] == ["default", "tool_use", "rag", "<end>"]
    (tmp_path / "chat_template.jinja").write_text("alone")
    assert applied(of, MESSAGES, tools=TOOLS) == "alone"


def test_today_is_what_the_clock_says(tmp_path):
    year = applied(located(tmp_path, chat_template="{{ strftime_now('%Y') }}"), MESSAGES)
    assert year == str(datetime.now().year)


REFUSED = {
    "out of turn": (TURNS, MESSAGES[1:], "the chat template of 'chatty' refuses: roles must take turns"),
    "no template": (None, MESSAGES, "'chatty' has no chat template: it is no chat model"),
    "no syntax": ("{% for %}", MESSAGES, "the chat template of 'chatty' refuses"),
    "no messages": ("", ["hello"], "found 'hello' among the messages; expected such as"),
    "objects": ("", [{"role": "user", "content": object()}], "found object in the messages"),
    "several, none by default": (
        [{"name": "a", "template": ""}],
        MESSAGES,
        "none of which is the default one",
    ),
    "no text": ({"a": 1}, MESSAGES, "chat_template is no text, and no list of such"),
    "too long": ("a" * 200_001, MESSAGES, "has 200,001 characters; expected 200,000 at most"),
}


@pytest.mark.parametrize(("template", "messages", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_chat_is_refused(tmp_path, template, messages, message):
    with pytest.raises(zoo.ZooError, match=message):
        applied(located(tmp_path, chat_template=template), messages)


ESCAPES = (
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ '{0.__class__.__mro__}'.format(1) }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{% set found = namespace(__class__=1) %}",
    "{% set found = namespace() %}{% set found.__class__ = 1 %}",
    "{{ messages.append(1) }}",
    "{% include 'secrets' %}",
    "{{ environment.budget }}",
    "{{ raise_exception.__globals__.keys() }}",
)
ENDLESS = (
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% for a in range(9999) %}{{ range(99999) | sum }}{% endfor %}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% set s = namespace(x='ab') %}{% for a in range(60) %}{% set s.x = s.x ~ s.x %}{% endfor %}",
    "{% set s = namespace(x='ab') %}{% for a in range(60) %}{% set s.x = s.x + s.x %}{% endfor %}",
    "{% set s = namespace(x=[1]) %}{% for a in range(60) %}{% set s.x = [s.x, s.x] %}{% endfor %}{{ s.x }}",
    "{% set s = namespace(x=1) %}{% for a in range(60) %}{% set s.x = [s.x] * 2 %}{% endfor %}"
    "{{ s.x|tojson }}",
    "{% set s = namespace(x=3) %}{% for a in range(60) %}{% set s.x = s.x * s.x %}{% endfor %}",
    "{% set s = 'ab' * 200000 %}{% for a in range(50) %}{{ '' if s.count('ba') }}{% endfor %}",
    "{{ 'a' * 10 ** 12 }}",
    "{{ ('a' * 1000000) | replace('a', 'b' * 1000000) }}",
    "{{ range(99999) | slice(1000000000) | list }}",
    "{{ 'a'.center(1000000000) }}",
    "{{ lipsum(n=1000000000) }}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{% for i in range(99999) %}{% call m() %}"
    + "a" * 1000
    + "{% endcall %}{% endfor %}",
)  # fmt: skip


@pytest.mark.parametrize("template", [*ESCAPES, *ENDLESS])
def test_nothing_leaves_the_sandbox_nor_runs_for_ever(template):
    start = time.process_time()
    with pytest.raises(zoo.ZooError, match="the chat template of 'bad'"):
        rendered("bad", template, {"messages": MESSAGES})
    assert time.process_time() - start < 10
