/* The disk that forgets: a library to preload that keeps, beside a real folder, an image of what a loss of
 * power would leave of it. The model is stated in lib.rs; this file keeps it.
 *
 *   SHADOW/file/ID   bytes of a file as of its last fsync; absent: never synced, so empty
 *   SHADOW/dir/ID    entries of a folder as of its last fsync, each "KIND MODE ID \0 NAME \0"; absent: none
 *   SHADOW/active    made when a process under this library touched its first file
 *   ID               device-inode-birth in hexadecimal: survives renames, links and restarts of the process
 *
 * With NEPTUNE_FAULT_FS_STEPS=N the process is killed at its N-th step: behind a write, before or behind a sync.
 *
 * Writes go to the real file, which therefore reads back as usual; here only the range written since the last
 * fsync is noted. fsync copies that range into the image, fsync of a folder replaces its list of names, and the
 * real fsync is left out, as nothing depends on it. Everything below goes around the C library by syscall(), so
 * this library never meets itself. A failure of its own ends the process loudly: a wrong image is worse.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define BUCKETS 4096
#define TO_THE_END INT64_MAX

_Static_assert(sizeof(off_t) == 8, "offsets are 64 bits, so the *64 names are the same functions");

/* A file opened for writing by this process, and what it has written since the last fsync. */
struct file {
  dev_t device;
  ino_t inode;
  char id[64];
  int64_t dirty_from, dirty_to; /* half-open; empty when from >= to */
  bool mapped;                  /* may change without a call, so is always dirty */
  struct file *next;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* files, copying, listing */
static struct file *files[BUCKETS];
static char root[PATH_MAX], shadow[PATH_MAX / 2];
static size_t root_length; /* 0: not configured, everything passes through */
static int64_t steps_left = INT64_MAX;

static void die(const char *what) {
  char text[256];
  int length = snprintf(text, sizeof text, "fault-fs: %s: %s\n", what, strerror(errno));
  syscall(SYS_write, 2, text, length);
  abort();
}

static void start(void) {
  const char *from = getenv("NEPTUNE_FAULT_FS_ROOT"), *to = getenv("NEPTUNE_FAULT_FS_SHADOW");
  if (!from || !to) return;
  if (!realpath(from, root)) die(from);
  if (strlen(to) >= sizeof shadow) die("path of the shadow is too long");
  strcpy(shadow, to);
  char marker[PATH_MAX];
  snprintf(marker, sizeof marker, "%s/active", shadow);
  int fd = syscall(SYS_openat, AT_FDCWD, marker, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) die(marker);
  syscall(SYS_close, fd);
  const char *steps = getenv("NEPTUNE_FAULT_FS_STEPS");
  if (steps) steps_left = atoll(steps);
  root_length = strlen(root);
}

/* One write or sync further; the last one ends the process, and no other thread gets any further. */
static void step(void) {
  if (__atomic_sub_fetch(&steps_left, 1, __ATOMIC_SEQ_CST) <= 0) syscall(SYS_kill, getpid(), SIGKILL);
}

static bool configured(void) {
  pthread_once(&once, start);
  return root_length > 0;
}

/* Whether the file behind fd lies in the folder, wherever its name is now. */
static bool in_root(int fd) {
  char link[32], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path);
  if (length < (ssize_t)root_length || memcmp(path, root, root_length) != 0) return false;
  return length == (ssize_t)root_length || path[root_length] == '/';
}

static bool stat_file(int fd, struct stat *status) { return syscall(SYS_fstat, fd, status) == 0; }

static bool read_id(int folder, const char *name, int flags, struct statx *status, char id[64]) {
  if (syscall(SYS_statx, folder, name, flags, STATX_BASIC_STATS | STATX_BTIME, status) != 0) return false;
  bool born = status->stx_mask & STATX_BTIME;
  snprintf(id, 64, "%llx-%llx-%llx.%x", (long long)makedev(status->stx_dev_major, status->stx_dev_minor),
           (long long)status->stx_ino, born ? (long long)status->stx_btime.tv_sec : 0,
           born ? status->stx_btime.tv_nsec : 0);
  return true;
}

static int open_shadow(const char *folder, const char *name, const char *suffix, int flags) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/%s/%s%s", shadow, folder, name, suffix);
  int fd = syscall(SYS_openat, AT_FDCWD, path, flags | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) die(path);
  return fd;
}

/* ---- what was written ---------------------------------------------------------------------------------- */

static struct file **bucket(dev_t device, ino_t inode) { return &files[(inode * 31 + device) % BUCKETS]; }

static struct file *find(dev_t device, ino_t inode) {
  struct file *file = *bucket(device, inode);
  while (file && (file->device != device || file->inode != inode)) file = file->next;
  return file;
}

static void make_dirty(struct file *file, int64_t from, int64_t to) {
  bool clean = file->dirty_from >= file->dirty_to;
  file->dirty_from = clean || from < file->dirty_from ? from : file->dirty_from;
  file->dirty_to = clean || to > file->dirty_to ? to : file->dirty_to;
}

/* Notes that [from, to) of the file behind fd has changed, if it is one of ours. Keeps errno. */
static void wrote(int fd, int64_t from, int64_t to) {
  int saved = errno;
  struct stat status;
  if (configured() && stat_file(fd, &status) && S_ISREG(status.st_mode)) {
    pthread_mutex_lock(&lock);
    struct file *file = find(status.st_dev, status.st_ino);
    if (file) make_dirty(file, from, to);
    pthread_mutex_unlock(&lock);
    if (file) step();
  }
  errno = saved;
}

/* A file that this process has not opened before may hold what an earlier one did not sync: all of it is dirty. */
static int opened(int fd, int flags) {
  if (fd < 0 || (flags & O_ACCMODE) == O_RDONLY || !configured()) return fd;
  int saved = errno;
  struct stat status;
  struct statx named;
  char id[64];
  if (stat_file(fd, &status) && S_ISREG(status.st_mode) && in_root(fd) &&
      read_id(fd, "", AT_EMPTY_PATH, &named, id)) {
    pthread_mutex_lock(&lock);
    struct file *file = find(status.st_dev, status.st_ino);
    if (!file) {
      file = calloc(1, sizeof *file);
      if (!file) die("out of memory");
      struct file **first = bucket(status.st_dev, status.st_ino);
      *file = (struct file){.device = status.st_dev, .inode = status.st_ino, .next = *first};
      *first = file;
    }
    bool another = strcmp(file->id, id) != 0; /* the inode number was used before */
    if (another) {
      strcpy(file->id, id);
      file->mapped = false;
    }
    if (another || (flags & O_TRUNC)) make_dirty(file, 0, TO_THE_END);
    pthread_mutex_unlock(&lock);
  }
  errno = saved;
  return fd;
}

/* ---- what is durable ----------------------------------------------------------------------------------- */

static void copy_range(int from, int to, int64_t offset, int64_t end) {
  static char buffer[1 << 20]; /* under the lock */
  while (offset < end) {
    size_t wanted = end - offset < (int64_t)sizeof buffer ? (size_t)(end - offset) : sizeof buffer;
    ssize_t got = syscall(SYS_pread64, from, buffer, wanted, offset);
    if (got < 0) die("reading a file to be synced");
    if (got == 0) return; /* cut meanwhile */
    for (ssize_t done = 0; done < got;) {
      ssize_t put = syscall(SYS_pwrite64, to, buffer + done, got - done, offset + done);
      if (put <= 0) die("writing the image of a file");
      done += put;
    }
    offset += got;
  }
}

static void sync_file(int fd, const struct stat *status, const char *id) {
  struct file *file = find(status->st_dev, status->st_ino);
  bool known = file && strcmp(file->id, id) == 0 && !file->mapped;
  int64_t from = known ? file->dirty_from : 0, to = known ? file->dirty_to : TO_THE_END;
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  int source = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
  if (source < 0) die("reopening a file to be synced");
  int image = open_shadow("file", id, "", O_RDWR);
  struct stat now, old;
  if (!stat_file(source, &now) || !stat_file(image, &old)) die("sizes of a file to be synced");
  if (now.st_size > old.st_size) { /* whatever grew it */
    from = from < to && from < old.st_size ? from : old.st_size;
    to = TO_THE_END;
  }
  if (known) file->dirty_from = file->dirty_to = 0;
  copy_range(source, image, from, to < now.st_size ? to : now.st_size);
  if (syscall(SYS_ftruncate, image, now.st_size) != 0) die("cutting the image of a file");
  syscall(SYS_close, image);
  syscall(SYS_close, source);
}

static void list_entry(FILE *list, int folder, const char *name) {
  struct statx status;
  char id[64];
  if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) return;
  if (!read_id(folder, name, AT_SYMLINK_NOFOLLOW, &status, id)) return; /* removed meanwhile */
  char kind = S_ISREG(status.stx_mode) ? 'f' : S_ISDIR(status.stx_mode) ? 'd' : 0;
  if (kind) fprintf(list, "%c %o %s%c%s%c", kind, status.stx_mode & 07777, id, 0, name, 0);
}

/* The new list takes the place of the old one in one step, as a journal would have it. */
static void sync_folder(int fd, const char *id) {
  int copy = syscall(SYS_openat, fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *entries = copy < 0 ? NULL : fdopendir(copy);
  if (!entries) die("listing a folder to be synced");
  char *text = NULL, from[PATH_MAX], to[PATH_MAX];
  size_t length = 0;
  FILE *list = open_memstream(&text, &length);
  if (!list) die("out of memory");
  for (struct dirent *entry; (entry = readdir(entries));) list_entry(list, copy, entry->d_name);
  if (fclose(list) != 0) die("out of memory");
  int image = open_shadow("dir", id, ".new", O_WRONLY | O_TRUNC);
  if (syscall(SYS_write, image, text, length) != (long)length) die("writing the image of a folder");
  syscall(SYS_close, image);
  snprintf(from, sizeof from, "%s/dir/%s.new", shadow, id);
  snprintf(to, sizeof to, "%s/dir/%s", shadow, id);
  if (syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0) != 0) die(to);
  free(text);
  closedir(entries);
}

/* Makes what fd stands for durable. False if it is not ours, so the real call is due. */
static bool make_durable(int fd) {
  struct stat status;
  struct statx named;
  char id[64];
  if (!configured() || !stat_file(fd, &status)) return false;
  bool file = S_ISREG(status.st_mode), folder = S_ISDIR(status.st_mode);
  if ((!file && !folder) || !in_root(fd) || !read_id(fd, "", AT_EMPTY_PATH, &named, id)) return false;
  step();
  pthread_mutex_lock(&lock);
  if (file) sync_file(fd, &status, id);
  else sync_folder(fd, id);
  pthread_mutex_unlock(&lock);
  step();
  return true;
}

/* Makes all below a folder durable, for sync() and syncfs(). Takes fd. */
static void make_tree_durable(int fd) {
  DIR *entries = fd < 0 ? NULL : fdopendir(fd);
  if (!entries) die("opening a folder to be synced");
  for (struct dirent *entry; (entry = readdir(entries));) {
    bool itself = strcmp(entry->d_name, ".") == 0, above = strcmp(entry->d_name, "..") == 0;
    if (itself || above || (entry->d_type != DT_REG && entry->d_type != DT_DIR)) continue;
    int inner = syscall(SYS_openat, fd, entry->d_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (inner < 0) continue; /* removed meanwhile */
    if (entry->d_type == DT_DIR) {
      make_tree_durable(inner);
    } else {
      make_durable(inner);
      syscall(SYS_close, inner);
    }
  }
  make_durable(fd);
  closedir(entries);
}

static void make_all_durable(void) {
  if (configured()) make_tree_durable(syscall(SYS_openat, AT_FDCWD, root, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

/* ---- the calls in between ------------------------------------------------------------------------------ */

static int open_at(int folder, const char *path, int flags, va_list rest) {
  bool creates = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
  mode_t mode = creates ? va_arg(rest, mode_t) : 0;
  return opened(syscall(SYS_openat, folder, path, flags, mode), flags);
}

#define OPEN(name)                                   \
  EXPORT int name(const char *path, int flags, ...) { \
    va_list rest;                                    \
    va_start(rest, flags);                           \
    int fd = open_at(AT_FDCWD, path, flags, rest);   \
    va_end(rest);                                    \
    return fd;                                       \
  }
#define OPENAT(name)                                             \
  EXPORT int name(int folder, const char *path, int flags, ...) { \
    va_list rest;                                                \
    va_start(rest, flags);                                       \
    int fd = open_at(folder, path, flags, rest);                 \
    va_end(rest);                                                \
    return fd;                                                   \
  }
OPEN(open)
OPEN(open64)
OPEN(__open_2) /* what fortified programs call */
OPEN(__open64_2)
OPENAT(openat)
OPENAT(openat64)
OPENAT(__openat_2)
OPENAT(__openat64_2)

#define CREAT(name) \
  EXPORT int name(const char *path, mode_t mode) { return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
CREAT(creat)
CREAT(creat64)

/* Passes on what a write returned, having noted it. At an offset of -1 it was written at the file's position,
 * which was `before`; threads that share it may have moved it meanwhile, so the range is taken widely. */
static ssize_t noted(int fd, ssize_t written, off_t offset, off_t before) {
  if (written <= 0 || !configured()) return written;
  int saved = errno;
  int flags = syscall(SYS_fcntl, fd, F_GETFL);
  off_t after = offset < 0 ? syscall(SYS_lseek, fd, 0, SEEK_CUR) : offset + written;
  if (offset < 0) offset = before < after - written ? before : after - written;
  if (after >= 0) { /* else a pipe or a socket */
    bool appends = flags >= 0 && (flags & O_APPEND);
    wrote(fd, offset < 0 ? 0 : offset, appends ? TO_THE_END : after);
    if (flags >= 0 && (flags & O_DSYNC)) make_durable(fd);
  }
  errno = saved;
  return written;
}

static off_t position(int fd) {
  if (!configured()) return 0;
  int saved = errno;
  off_t offset = syscall(SYS_lseek, fd, 0, SEEK_CUR);
  errno = saved;
  return offset;
}

EXPORT ssize_t write(int fd, const void *bytes, size_t count) {
  off_t before = position(fd);
  return noted(fd, syscall(SYS_write, fd, bytes, count), -1, before);
}
EXPORT ssize_t writev(int fd, const struct iovec *parts, int count) {
  off_t before = position(fd);
  return noted(fd, syscall(SYS_writev, fd, parts, count), -1, before);
}

#define PWRITE(name)                                                               \
  EXPORT ssize_t name(int fd, const void *bytes, size_t count, off_t offset) {     \
    return noted(fd, syscall(SYS_pwrite64, fd, bytes, count, offset), offset, 0);  \
  }
#define PWRITEV(name)                                                                      \
  EXPORT ssize_t name(int fd, const struct iovec *parts, int count, off_t offset) {        \
    return noted(fd, syscall(SYS_pwritev, fd, parts, count, offset, 0L), offset, 0);       \
  }
#define PWRITEV2(name)                                                                             \
  EXPORT ssize_t name(int fd, const struct iovec *parts, int count, off_t offset, int flags) {     \
    off_t before = offset < 0 ? position(fd) : 0;                                                  \
    return noted(fd, syscall(SYS_pwritev2, fd, parts, count, offset, 0L, flags), offset, before);  \
  }
PWRITE(pwrite)
PWRITE(pwrite64)
PWRITEV(pwritev)
PWRITEV(pwritev64)
PWRITEV2(pwritev2)
PWRITEV2(pwritev64v2)

/* Rare ways to write: the whole file counts as changed. */
#define SENDFILE(name)                                                        \
  EXPORT ssize_t name(int to, int from, off_t *offset, size_t count) {        \
    ssize_t sent = syscall(SYS_sendfile, to, from, offset, count);            \
    if (sent > 0) wrote(to, 0, TO_THE_END);                                   \
    return sent;                                                              \
  }
SENDFILE(sendfile)
SENDFILE(sendfile64)

EXPORT ssize_t copy_file_range(int from, off64_t *offset, int to, off64_t *to_offset, size_t count, unsigned flags) {
  ssize_t copied = syscall(SYS_copy_file_range, from, offset, to, to_offset, count, flags);
  if (copied > 0) wrote(to, 0, TO_THE_END);
  return copied;
}

#define FTRUNCATE(name)                                            \
  EXPORT int name(int fd, off_t size) {                            \
    int result = syscall(SYS_ftruncate, fd, size);                 \
    if (result == 0) wrote(fd, 0, TO_THE_END);                     \
    return result;                                                 \
  }
#define TRUNCATE(name)                                             \
  EXPORT int name(const char *path, off_t size) {                  \
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC); \
    if (fd < 0) return -1;                                         \
    int result = ftruncate(fd, size);                              \
    syscall(SYS_close, fd);                                        \
    return result;                                                 \
  }
#define FALLOCATE(name)                                            \
  EXPORT int name(int fd, int mode, off_t offset, off_t length) {  \
    int result = syscall(SYS_fallocate, fd, mode, offset, length); \
    if (result == 0) wrote(fd, offset, TO_THE_END);                \
    return result;                                                 \
  }
#define POSIX_FALLOCATE(name)                                      \
  EXPORT int name(int fd, off_t offset, off_t length) {            \
    int saved = errno;                                             \
    int result = fallocate(fd, 0, offset, length) == 0 ? 0 : errno; \
    errno = saved;                                                 \
    return result;                                                 \
  }
FTRUNCATE(ftruncate)
FTRUNCATE(ftruncate64)
TRUNCATE(truncate)
TRUNCATE(truncate64)
FALLOCATE(fallocate)
FALLOCATE(fallocate64)
POSIX_FALLOCATE(posix_fallocate)
POSIX_FALLOCATE(posix_fallocate64)

static void mapped(int fd) {
  struct stat status;
  if (!configured() || !stat_file(fd, &status)) return;
  pthread_mutex_lock(&lock);
  struct file *file = find(status.st_dev, status.st_ino);
  if (file) file->mapped = true;
  pthread_mutex_unlock(&lock);
}

#define MMAP(name)                                                                              \
  EXPORT void *name(void *address, size_t length, int protection, int flags, int fd, off_t offset) { \
    if (fd >= 0 && (flags & MAP_TYPE) != MAP_PRIVATE) mapped(fd);                               \
    return (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset);           \
  }
MMAP(mmap)
MMAP(mmap64)

EXPORT int fsync(int fd) { return make_durable(fd) ? 0 : syscall(SYS_fsync, fd); }
EXPORT int fdatasync(int fd) { return make_durable(fd) ? 0 : syscall(SYS_fdatasync, fd); }
EXPORT int syncfs(int fd) {
  make_all_durable();
  return syscall(SYS_syncfs, fd);
}
EXPORT void sync(void) {
  make_all_durable();
  syscall(SYS_sync);
}
