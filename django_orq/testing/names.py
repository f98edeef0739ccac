"""Typical names of support conversations, in several languages and scripts."""

# English is the most frequent, as in most workspaces.
_NAMES = (
    "Where is my order #{number}?",
    "Refund for Priya Shah: order {number} arrived broken",
    "Can't sign in after the password reset (Jack O'Connor), ticket {number}",
    "Invoice {number} shows the wrong VAT rate",
    'What does "pending review" mean for order {number}?',
    "Delivery {number} to a new address, Olivia Bennett & family",
    "Quick question about opening hours 🙂 ({number})",
    "Rückerstattung für Bestellung {number}",
    "Jürgen Weiß: Adresse ändern, Straße statt Postfach, Vertrag {number}",
    "Colis n° {number} jamais reçu",
    "Hélène Dupré souhaite modifier sa réservation {number}",
    "¿Dónde está mi pedido {number}?",
    "Reclamación de Íñigo Peña por el envío {number}, ¡urgente!",
    "João Gonçalves: não recebi o código de confirmação {number}",
    "{number} numaralı siparişim nerede? İbrahim Çağlar",
    "Świętosława Bąk: błędna kwota na fakturze {number}",
    "Πού βρίσκεται η παραγγελία {number};",
    "Пётр Щукин: возврат товара по гарантии, заказ №{number}",
    "ليلى حداد: أين طلبي رقم {number}؟",
    "נועה לוי: איפה ההזמנה שלי {number}?",
    "मेरा ऑर्डर {number} कहाँ है?",
    "佐藤さくら様:注文番号{number}の配送状況について",
    "王小明申请退款,订单{number}",
    "김민준 고객님 환불 요청, 주문 {number}",
)


def display_name(topic: int, number: int) -> str:
    """Return a name of 1 to 100 characters, chosen by two numbers that are not negative."""
    return _NAMES[topic % len(_NAMES)].format(number=100_000 + number % 900_000)
