"""The languages that generated mail is written in: words, phrases of mail, and the charsets met with each."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Language:
    """`charsets` are in the order of how often they are met: the first is used about half of the time."""

    code: str
    charsets: tuple[str, ...]
    words: tuple[str, ...]
    hello: str
    regards: str
    reply: str  # what this language's mail programs put before a subject
    wrote: str  # attribution above a quotation, with {who} and {when}
    file: str  # an attachment's name, without its ending
    unsubscribe: str
    space: str = " "
    stop: str = "."


def _language(
    code: str, charsets: str, words: str, phrases: tuple[str, ...], spaceless: bool = False
) -> Language:
    hello, regards, reply, wrote, file, unsubscribe = phrases
    return Language(
        code=code,
        charsets=tuple(charsets.split()),
        words=tuple(words.split()),
        hello=hello,
        regards=regards,
        reply=reply,
        wrote=wrote,
        file=file,
        unsubscribe=unsubscribe,
        space="" if spaceless else " ",
        stop="。" if spaceless else ".",
    )


ENGLISH = _language(
    "en",
    "utf-8 us-ascii iso-8859-1 windows-1252",
    "the invoice for your order was sent to our office and will be paid before Friday please find a "
    "copy of this contract below we would like to move meeting from morning until next week because "
    "two colleagues are travelling could you check whether new numbers in report match what customer "
    "told us yesterday budget looks fine but shipping costs went up again team finished first draft "
    "thanks for quick answer let me know if anything is missing delivery warehouse project schedule "
    "design review server update password account holiday train flight hotel booking garden weather "
    "school children birthday dinner recipe photo weekend library ticket concert",
    (
        "Hello {who},",
        "Best regards,",
        "Re: ",
        "On {when}, {who} wrote:",
        "Quarterly report",
        "Unsubscribe from this newsletter",
    ),
)
GERMAN = _language(
    "de",
    "utf-8 iso-8859-1 iso-8859-15 windows-1252",
    "die Rechnung für Ihre Bestellung wurde gestern verschickt und wir würden uns über eine schnelle "
    "Rückmeldung freuen Lieferung Größe Straße Prüfung Geschäftsführer Besprechung möchte können "
    "müssen nächste Woche während außerdem Vertrag Anlage Zahlung fällig Büro München Köln Düsseldorf "
    "schöne Grüße Urlaub Frühstück Übersicht ändern zurück gemäß Angebot Kündigung Versicherung "
    "Wohnung Schlüssel Übergabe Termin Uhr noch nicht aber doch bitte danke sehr Steuererklärung "
    "Fahrgastrechte Umsatzsteuervoranmeldung Qualitätssicherung Lagerbestände Öffnungszeiten",
    (
        "Sehr geehrte Damen und Herren, liebe(r) {who},",
        "Mit freundlichen Grüßen",
        "AW: ",
        "Am {when} schrieb {who}:",
        "Angebot für Küche und Flur",
        "Newsletter abbestellen",
    ),
)
FRENCH = _language(
    "fr",
    "utf-8 iso-8859-1 iso-8859-15 windows-1252",
    "la facture de votre commande a été envoyée hier et nous espérons recevoir une réponse avant "
    "vendredi réunion équipe déjà dépôt société français élève hôtel château forêt garçon leçon reçu "
    "où être très après près médecin école prêt livraison délai prévu semaine prochaine bientôt "
    "adhérent numéro téléphone propriété intérêt général loyer impôts cœur œuvre sœur août noël "
    "vacances île tâche projet étape première dernière merci beaucoup cordialement",
    (
        "Bonjour {who},",
        "Bien cordialement,",
        "RE : ",
        "Le {when}, {who} a écrit :",
        "Relevé de compte été",
        "Se désabonner de cette lettre",
    ),
)
SPANISH = _language(
    "es",
    "utf-8 iso-8859-1 windows-1252",
    "la factura de su pedido se envió ayer y esperamos una respuesta antes del viernes reunión mañana "
    "año niño señor España teléfono número dirección también además información próximo último días "
    "según envío garantía gestión compañía diseño página correo electrónico habitación vacaciones "
    "montaña corazón jamón cumpleaños gracias saludos",
    (
        "Hola {who}:",
        "Un saludo,",
        "RE: ",
        "El {when}, {who} escribió:",
        "Reunión de mañana",
        "Darse de baja del boletín",
    ),
)
POLISH = _language(
    "pl",
    "utf-8 iso-8859-2 windows-1250",
    "faktura za zamówienie została wysłana wczoraj i prosimy o szybką odpowiedź przed piątkiem "
    "spotkanie zespół przesyłka dostawa Łódź Kraków Gdańsk Wrocław źródło żółty gęś jaźń ćma ślub "
    "święto dziękuję proszę również następny tydzień później umowa płatność książka szkoła dzieci "
    "urodziny łąka późno wyjście wejście zgłoszenie rozwiązanie błąd usługa użytkownik hasło "
    "sprawdzić potwierdzić pozdrowienia",
    (
        "Dzień dobry {who},",
        "Z poważaniem",
        "Odp: ",
        "W dniu {when} {who} napisał(a):",
        "Umowa najmu łódź",
        "Wypisz się z biuletynu",
    ),
)
RUSSIAN = _language(
    "ru",
    "utf-8 koi8-r windows-1251 iso-8859-5",
    "счёт за ваш заказ был отправлен вчера и мы просим ответить до пятницы встреча команда договор "
    "оплата доставка склад проект срок работа отчёт новый следующий неделя завтра сегодня утром "
    "вечером офис Москва Казань Новосибирск поезд гостиница билет школа дети праздник день рождения "
    "погода книга музыка вопрос ответ спасибо пожалуйста уважением проверить изменить сообщить если "
    "только также потому который чтобы можно нужно",
    (
        "Здравствуйте, {who}!",
        "С уважением,",
        "Re: ",
        "{when} {who} пишет:",
        "Договор поставки",
        "Отписаться от рассылки",
    ),
)
GREEK = _language(
    "el",
    "utf-8 iso-8859-7 windows-1253",
    "το τιμολόγιο για την παραγγελία σας στάλθηκε χθες και περιμένουμε απάντηση πριν από την "
    "Παρασκευή συνάντηση ομάδα γραφείο Αθήνα Θεσσαλονίκη παράδοση πληρωμή σύμβαση έργο εβδομάδα αύριο "
    "σήμερα πρωί βράδυ ερώτηση ευχαριστώ παρακαλώ σχολείο παιδιά γιορτή βιβλίο μουσική καιρός ταξίδι "
    "ξενοδοχείο εισιτήριο έλεγχος αλλαγή",
    (
        "Αγαπητέ/ή {who},",
        "Με εκτίμηση,",
        "ΑΠ: ",
        "Στις {when}, ο/η {who} έγραψε:",
        "Τιμολόγιο Μαΐου",
        "Διαγραφή από τη λίστα",
    ),
)
TURKISH = _language(
    "tr",
    "utf-8 iso-8859-9 windows-1254",
    "siparişinizin faturası dün gönderildi ve cuma gününden önce cevabınızı bekliyoruz toplantı ekip "
    "büro İstanbul İzmir Eskişehir teslimat ödeme sözleşme proje hafta yarın bugün sabah akşam soru "
    "teşekkürler lütfen okul çocuklar doğum günü kitap müzik hava yolculuk otel bilet değişiklik "
    "güncelleme şifre ağustos kış ılık ığdır çağrı",
    (
        "Merhaba {who},",
        "Saygılarımla",
        "YNT: ",
        "{when} tarihinde {who} şunu yazdı:",
        "Fatura ağustos",
        "Bültenden çık",
    ),
)
ARABIC = _language(
    "ar",
    "utf-8 windows-1256 iso-8859-6",
    "فاتورة طلبكم أرسلت أمس ونرجو الرد قبل يوم الجمعة اجتماع الفريق المكتب القاهرة دمشق التسليم الدفع "
    "العقد المشروع الأسبوع القادم غدا اليوم صباحا مساء سؤال شكرا من فضلك المدرسة الأطفال عيد كتاب "
    "موسيقى الطقس السفر فندق تذكرة",
    (
        "مرحبا {who}",
        "مع أطيب التحيات",
        "رد: ",
        "في {when} كتب {who}:",
        "عقد الإيجار",
        "إلغاء الاشتراك",
    ),
)
HEBREW = _language(
    "he",
    "utf-8 windows-1255 iso-8859-8",
    "החשבונית עבור ההזמנה שלך נשלחה אתמול ונשמח לקבל תשובה לפני יום שישי פגישה צוות משרד ירושלים חיפה "
    "משלוח תשלום חוזה פרויקט שבוע הבא מחר היום בוקר ערב שאלה תודה בבקשה בית ספר ילדים יום הולדת ספר "
    "מוזיקה מזג אוויר נסיעה מלון כרטיס",
    (
        "שלום {who},",
        "בברכה",
        "השב: ",
        "בתאריך {when} כתב {who}:",
        "חוזה שכירות",
        "הסרה מרשימת התפוצה",
    ),
)
HINDI = _language(
    "hi",
    "utf-8",
    "आपके आदेश का बिल कल भेजा गया और हम शुक्रवार से पहले उत्तर की प्रतीक्षा कर रहे हैं बैठक टीम "
    "कार्यालय दिल्ली मुंबई वितरण भुगतान अनुबंध परियोजना सप्ताह अगला आज सुबह शाम प्रश्न धन्यवाद कृपया "
    "विद्यालय बच्चे जन्मदिन पुस्तक संगीत मौसम यात्रा",
    (
        "नमस्ते {who},",
        "सादर",
        "Re: ",
        "{when} को {who} ने लिखा:",
        "मासिक रिपोर्ट",
        "सदस्यता समाप्त करें",
    ),
)
JAPANESE = _language(
    "ja",
    "iso-2022-jp utf-8 shift_jis euc-jp",
    "ご注文 の 請求書 を 昨日 お送りしました 金曜日 までに ご返信 いただけます と 幸いです 会議 は "
    "来週 の 月曜日 に 変更 東京 大阪 配送 契約 支払い 確認 お願いします 資料 添付 します 新しい 予定 "
    "報告書 写真 週末 学校 子ども 誕生日 天気 旅行 ありがとうございます よろしく",
    (
        "{who}様",
        "よろしくお願いいたします。",
        "Re: ",
        "{when} {who}さんは書きました:",
        "見積書_最終版",
        "配信停止はこちら",
    ),
    spaceless=True,
)
CHINESE = _language(
    "zh-CN",
    "utf-8 gb2312 gb18030 gbk",
    "您的 订单 发票 已经 昨天 发出 请 在 星期五 之前 回复 会议 改到 下周 团队 办公室 北京 上海 送货 "
    "付款 合同 项目 报告 新的 计划 明天 今天 早上 晚上 问题 谢谢 学校 孩子 生日 天气 旅行 酒店 车票 "
    "图书馆 密码 更新 确认 我们 需要 已经 完成",
    (
        "{who}，您好！",
        "此致敬礼",
        "回复: ",
        "{who} 于 {when} 写道：",
        "合同_最终版",
        "退订此邮件",
    ),
    spaceless=True,
)
TAIWANESE = _language(
    "zh-TW",
    "utf-8 big5",
    "您的 訂單 發票 已經 昨天 寄出 請 在 星期五 之前 回覆 會議 改到 下週 團隊 辦公室 臺北 高雄 送貨 "
    "付款 合約 專案 報告 新的 計畫 明天 今天 早上 晚上 問題 謝謝 學校 孩子 生日 天氣 旅行 飯店 車票 "
    "圖書館 密碼 更新 確認 我們 需要",
    (
        "{who} 您好：",
        "敬祝 順心",
        "回覆: ",
        "{who} 於 {when} 寫道：",
        "合約_定稿",
        "取消訂閱",
    ),
    spaceless=True,
)
KOREAN = _language(
    "ko",
    "utf-8 euc-kr",
    "주문하신 상품의 청구서를 어제 보내드렸습니다 금요일 전까지 답장을 부탁드립니다 회의는 다음 주 "
    "월요일로 변경되었습니다 서울 부산 배송 계약 결제 확인 자료 첨부합니다 새로운 일정 보고서 사진 "
    "주말 학교 아이들 생일 날씨 여행 감사합니다 안녕히",
    (
        "{who}님, 안녕하세요.",
        "감사합니다.",
        "RE: ",
        "{when}, {who}님이 작성:",
        "견적서_최종",
        "수신 거부",
    ),
)

# A mailbox is mostly in one or two languages; the numbers are shares of a hundred.
SHARES = (
    (ENGLISH, 34),
    (GERMAN, 16),
    (FRENCH, 9),
    (SPANISH, 6),
    (POLISH, 6),
    (RUSSIAN, 6),
    (JAPANESE, 5),
    (CHINESE, 4),
    (TAIWANESE, 2),
    (KOREAN, 3),
    (GREEK, 2),
    (TURKISH, 2),
    (ARABIC, 2),
    (HEBREW, 2),
    (HINDI, 1),
)
BY_SHARE = tuple(language for language, share in SHARES for _ in range(share))
