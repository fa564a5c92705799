"""What a folder is for: what the server says (RFC 6154), else what its name usually means. Pure."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace

from postroom.providers.model import FolderRole, RemoteFolder

SPECIAL_USE = {
    "\\sent": FolderRole.SENT,
    "\\drafts": FolderRole.DRAFTS,
    "\\trash": FolderRole.TRASH,
    "\\junk": FolderRole.SPAM,
    "\\spam": FolderRole.SPAM,  # XLIST
    "\\archive": FolderRole.ARCHIVE,
    "\\all": FolderRole.ALL,
    "\\allmail": FolderRole.ALL,  # XLIST
    "\\flagged": FolderRole.FLAGGED,
    "\\starred": FolderRole.FLAGGED,  # XLIST
}

# The names of mail programs and web mailers in their users' languages, without case and accents.
NAMES = {
    FolderRole.SENT: """sent; sent items; sent messages; sent mail; sent-mail; outbox sent; gesendet;
        gesendete objekte; gesendete elemente; gesendete nachrichten; postausgang gesendet; envoyes;
        elements envoyes; messages envoyes; objets envoyes; enviados; elementos enviados;
        mensajes enviados; itens enviados; mensagens enviadas; enviada; inviati; posta inviata;
        elementi inviati; verzonden; verzonden items; verzonden berichten; wyslane; elementy wyslane;
        odeslane; odeslana posta; odoslane; skickat; skickade; skickade objekt; sendt; sendte elementer;
        sendt post; lahetetyt; elkuldott; elkuldott elemek; trimise; gonderilmis ogeler; gonderilenler;
        απεσταλμενα; отправленные; надіслані; 已发送; 已发送邮件; 寄件備份; 送信済み; 送信済みアイテム;
        보낸편지함; 보낸 편지함; المرسلة; נשלחו""",
    FolderRole.DRAFTS: """drafts; draft; entwurfe; entwurf; brouillons; brouillon; borradores; borrador;
        rascunhos; bozze; concepten; szkice; wersje robocze; koncepty; rozepsane; utkast; kladder;
        luonnokset; piszkozatok; ciorne; taslaklar; προχειρα; черновики; чернетки; 草稿; 草稿箱; 草稿匣;
        下書き; 임시보관함; المسودات; טיוטות""",
    FolderRole.TRASH: """trash; deleted; deleted items; deleted messages; bin; wastebasket; papierkorb;
        geloschte objekte; geloschte elemente; geloscht; corbeille; elements supprimes;
        messages supprimes; papelera; elementos eliminados; eliminados; lixeira; lixo; itens excluidos;
        itens eliminados; cestino; posta eliminata; elementi eliminati; prullenbak; verwijderde items;
        kosz; elementy usuniete; kos; smazane; odstranena posta; papperskorgen; borttaget;
        borttagna objekt; slettede elementer; papirkurv; slettet post; roskakori; poistetut;
        torolt elemek; lomtar; gunoi; cop kutusu; silinmis ogeler; καδος; удаленные; корзина; видалені;
        кошик; 已删除; 已删除邮件; 垃圾桶; 刪除的郵件; ゴミ箱; 削除済みアイテム; 휴지통; المهملات;
        אשפה""",
    FolderRole.SPAM: """spam; junk; junk mail; junk e-mail; junk email; bulk; bulk mail; spamverdacht;
        unerwunscht; junk-e-mail; werbung; pourriel; indesirables; courrier indesirable;
        correo no deseado; correo basura; lixo eletronico; lixo eletronico spam; posta indesiderata;
        ongewenste e-mail; ongewenst; niechciane; wiadomosci-smieci; nevyzadana posta; nevyzadane;
        skrappost; uonsket e-post; roskaposti; levelszemet; istenmeyen; ανεπιθυμητα; спам;
        нежелательная почта; небажана пошта; 垃圾邮件; 垃圾郵件; 迷惑メール; 스팸메일함; 스팸;
        البريد العشوائي; ספאם""",
    FolderRole.ARCHIVE: """archive; archives; archiv; archivio; archivo; archivados; arquivo; archief;
        archiwum; arkiv; arkisto; arhiva; arsiv; αρχειο; архив; архів; 归档; 封存; アーカイブ; 보관함;
        الأرشيف; ארכיון""",
}
BY_NAME = {
    re.sub(r"\s+", " ", name).strip(): role for role, names in NAMES.items() for name in names.split(";")
}


def with_roles(folders: Sequence[tuple[RemoteFolder, frozenset[str]]]) -> list[RemoteFolder]:
    """The folders, each with its role. Names speak only for roles that the server has left open."""
    said = [(folder, _said(folder, attributes)) for folder, attributes in folders]
    open_roles = set(NAMES) - {role for _, role in said}
    found = []
    for folder, known in said:
        role = known or _named(folder)
        if known is None and role not in open_roles:
            role = None
        if role is not None:
            open_roles.discard(role)
        found.append(replace(folder, role=role))
    return found


def _said(folder: RemoteFolder, attributes: frozenset[str]) -> FolderRole | None:
    if folder.name == b"INBOX":
        return FolderRole.INBOX
    return next((role for word, role in SPECIAL_USE.items() if word in attributes), None)


def _named(folder: RemoteFolder) -> FolderRole | None:
    """Only folders at the top, or right below INBOX, are what their name says."""
    levels = folder.path.split(folder.delimiter) if folder.delimiter else [folder.path]
    if len(levels) == 2 and levels[0].upper() in {"INBOX", "[GMAIL]", "[GOOGLE MAIL]"}:
        levels = levels[1:]
    if len(levels) != 1 or not folder.selectable:
        return None
    bare = "".join(c for c in unicodedata.normalize("NFKD", levels[0]) if not unicodedata.combining(c))
    return BY_NAME.get(bare.casefold().strip()) or BY_NAME.get(levels[0].casefold().strip())
