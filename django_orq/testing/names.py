"""What people call their support conversations, in several languages and scripts."""

PEOPLE = {
    "en": ("Olivia Bennett", "Noah Clarke", "Amelia Wright", "Jack O'Connor", "Priya Shah"),
    "de": ("Jürgen Weiß", "Anneliese Groß", "Lukas Schäfer", "Mia König", "Björn Kästner"),
    "fr": ("Chloé Lefèvre", "Benoît Garçon", "Zoé Noël", "Hélène Dupré", "Loïc Prévost"),
    "es": ("Lucía Núñez", "Íñigo Peña", "María José Ibáñez", "Andrés Muñoz", "Sofía Gómez"),
    "pt": ("João Gonçalves", "Inês Magalhães", "Antônio Araújo", "Conceição Leão", "Luís Brandão"),
    "tr": ("Ayşe Yıldız", "İbrahim Çağlar", "Gülşen Öztürk", "Işıl Doğan", "Ömer Şahin"),
    "pl": ("Łukasz Wójcik", "Małgorzata Żak", "Świętosława Bąk", "Paweł Gąsior", "Zofia Źrebiec"),
    "el": ("Γιώργος Παπαδάκης", "Ελένη Νικολάου", "Κώστας Ιωάννου", "Μαρία Βλάχου"),
    "ru": ("Анна Соколова", "Пётр Щукин", "Юлия Королёва", "Дмитрий Жданов"),
    "ar": ("ليلى حداد", "عمر الخطيب", "سارة منصور", "يوسف القاسم"),
    "he": ("נועה לוי", "איתן כהן", "תמר מזרחי", "יואב פרץ"),
    "hi": ("अनिता शर्मा", "राहुल वर्मा", "प्रिया गुप्ता", "विकास सिंह"),
    "ja": ("佐藤さくら", "高橋健", "渡辺美咲", "小林大輔"),
    "zh": ("王小明", "李佳怡", "陈建国", "赵雪"),
    "ko": ("김민준", "이서연", "박지훈", "최수아"),
}

TOPICS = {
    "en": (
        "Where is my order #{number}?",
        "Refund for {person}: order {number} arrived broken",
        "Can't sign in after the password reset ({person})",
        "Invoice {number} shows the wrong VAT rate",
        "Upgrade from Team to Business, {number} seats",
        "API returns 429 since this morning, ticket {number}",
        'What does "pending review" mean for order {number}?',
        "Delivery to a new address, {person} & family",
        "Quick question about opening hours 🙂",
    ),
    "de": (
        "Rückerstattung für Bestellung {number}",
        "{person}: Adresse ändern, Straße statt Postfach",
        "Paket {number} laut Sendungsverfolgung zugestellt, aber nicht da",
        "Rechnung {number} bitte als PDF",
        "Kündigung zum Monatsende, Vertrag {number}",
    ),
    "fr": (
        "Colis n° {number} jamais reçu",
        "{person} souhaite modifier sa réservation",
        "Problème de connexion à l'espace client",
        "Remboursement de la commande {number}, où en est-on ?",
        "Facture {number} : l'adresse n'est pas à jour",
    ),
    "es": (
        "¿Dónde está mi pedido {number}?",
        "Devolución de {person}, talla equivocada",
        "No puedo cambiar mi contraseña",
        "Factura {number} con el año incorrecto",
        "Reclamación por el envío {number}, ¡urgente!",
    ),
    "pt": (
        "Troca do produto da encomenda {number}",
        "{person}: não recebi o código de confirmação",
        "Cobrança em duplicidade no cartão, pedido {number}",
        "Informações sobre a garantia do aparelho",
    ),
    "tr": (
        "{number} numaralı siparişim nerede?",
        "{person} için iade talebi",
        "Şifremi sıfırlayamıyorum, ışık yanmıyor",
        "Fatura {number} için KDV düzeltmesi",
    ),
    "pl": (
        "Zwrot zamówienia nr {number}",
        "{person}: błędna kwota na fakturze {number}",
        "Nie mogę się zalogować do konta",
    ),
    "el": (
        "Πού βρίσκεται η παραγγελία {number};",
        "{person}: αλλαγή διεύθυνσης αποστολής",
        "Επιστροφή χρημάτων για το τιμολόγιο {number}",
    ),
    "ru": (
        "Где мой заказ №{number}?",
        "{person}: возврат товара по гарантии",
        "Не приходит код подтверждения",
        "Счёт {number}: ошибка в реквизитах",
    ),
    "ar": (
        "أين طلبي رقم {number}؟",
        "{person}: طلب استرداد المبلغ",
        "لا أستطيع تسجيل الدخول إلى حسابي",
    ),
    "he": (
        "איפה ההזמנה שלי {number}?",
        "{person}: בקשה להחזר כספי",
    ),
    "hi": (
        "मेरा ऑर्डर {number} कहाँ है?",
        "{person}: पैसे वापस करने का अनुरोध",
        "खाते में लॉगिन नहीं हो रहा",
    ),
    "ja": (
        "注文番号{number}の配送状況について",
        "{person}様:返品のご相談",
        "パスワードを再設定できません",
        "請求書{number}の宛名変更のお願い",
    ),
    "zh": (
        "订单{number}什么时候发货?",
        "{person}申请退款",
        "无法登录账户,验证码收不到",
        "发票{number}抬头需要修改",
    ),
    "ko": (
        "주문 {number} 배송 문의",
        "{person} 고객님 환불 요청",
        "비밀번호 재설정 메일이 오지 않아요",
    ),
}

# English counts three times: most workspaces write most of their names in it.
_LANGUAGES = ("en", "en", *TOPICS)


def display_name(language: int, topic: int, person: int, number: int) -> str:
    """A name of 1 to 100 characters; any four numbers ≥ 0 pick one."""
    key = _LANGUAGES[language % len(_LANGUAGES)]
    people, topics = PEOPLE[key], TOPICS[key]
    return topics[topic % len(topics)].format(person=people[person % len(people)], number=100_000 + number % 900_000)
