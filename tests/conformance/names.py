"""300 names that the mirror must preserve exactly: six scripts, emoji, quotes and HTML."""

PHRASES = {
    "Latin": ("Where is my order", "Rückerstattung für Jürgen", "Déjà payé, été 2025", "¿Mañana?"),
    "Greek": ("Πού είναι η παραγγελία", "Επιστροφή χρημάτων", "Τιμολόγιο", "Αλλαγή διεύθυνσης"),
    "Cyrillic": ("Где мой заказ", "Возврат за ёлку", "Счёт-фактура", "Їжак і ґанок"),
    "Arabic": ("أين طلبي", "استرداد المبلغ", "لا أستطيع الدخول", "فاتورة"),
    "Devanagari": ("मेरा ऑर्डर कहाँ है", "पैसे वापस", "खाता बंद", "क्षत्रिय ज्ञान"),
    "Han and kana": ("订单在哪里", "返品について", "パスワード", "請求書の宛名"),
}

ORNAMENTS = (
    "{}",
    "{} 🙂",
    "👩‍👩‍👧‍👦 {} 🏳️‍🌈 👍🏽",
    '"{}"',
    "'{}' & \"{}\"",
    "«{}» „{}“",
    "<b>{}</b>",
    "<script>alert('{}')</script>",
    "&lt;{}&gt; &amp; &#x27;",
    "{}\\n\\u0041 \\ /",
    "{{{{ {} }}}} {{% now %}} ${{x}} %s %(x)s",
    "'; DROP TABLE {}; --",
    "e\u0301 + \u00e9: {}",
)


def _distinct_names() -> list[str]:
    phrases = [phrase for group in PHRASES.values() for phrase in group]
    names = [ornament.format(*[phrase] * 2) for ornament in ORNAMENTS for phrase in phrases]
    longest = [f"{name} ".ljust(100, "…") for name in phrases]
    return names[: 300 - len(longest)] + longest


NAMES = _distinct_names()
