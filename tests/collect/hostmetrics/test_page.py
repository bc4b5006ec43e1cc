from meterhall.collect.hostmetrics.page import Page


def test_families_keep_their_order_and_their_samples_together():
    page = Page()
    page.counter("b_total", "B.", 1, {"x": "1"})
    page.gauge("a", "A.", 0.5)
    page.counter("b_total", "B.", 2, {"x": "2"})
    assert page.render().decode() == (
        "# HELP b_total B.\n# TYPE b_total counter\n"
        'b_total{x="1"} 1\nb_total{x="2"} 2\n'
        "# HELP a A.\n# TYPE a gauge\na 0.5\n"
    )


def test_label_values_and_helps_are_escaped():
    page = Page()
    page.add("m", "untyped", "back\\slash\nline", 1, {"mount": 'a"b\\c\nd'})
    assert page.render().decode() == (
        '# HELP m back\\\\slash\\nline\n# TYPE m untyped\nm{mount="a\\"b\\\\c\\nd"} 1\n'
    )


def test_bytes_that_are_not_utf8_become_the_replacement_character():
    page = Page()
    page.gauge("m", "", 1, {"mount": b"a\xffb".decode("utf-8", "surrogateescape")})
    assert 'mount="a\ufffdb"'.encode() in page.render()
